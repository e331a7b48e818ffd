"""What variables are worth along a stage, and instructions with them in place."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dockerfile import evaluate as evaluation
from schemas.dockerfile import instructions as typed
from schemas.dockerfile.evaluate import DEFAULT_PATH, Inputs, Step, base_scope, global_variables
from schemas.dockerfile.parse import Dockerfile, parse
from schemas.dockerfile.platform import Platform
from schemas.dockerfile.remote import Remote, remote_of
from schemas.dockerfile.run_mount import Mount
from schemas.errors import Invalid

NO_ENVIRONMENT: Mapping[str, str] = {}


def walk(
    text: str, arguments: Mapping[str, str] = NO_ENVIRONMENT, environment: Mapping[str, str] = NO_ENVIRONMENT
) -> tuple[Step, ...]:
    """The steps of the last stage."""
    dockerfile = parse(text, "Dockerfile")
    inputs = Inputs(arguments)
    instructions = dockerfile.stages[-1].instructions
    globals_ = global_variables(dockerfile, inputs)
    return evaluation.evaluate(dockerfile, instructions, base_scope(environment), inputs, globals_)


def worth(text: str, arguments: Mapping[str, str] = NO_ENVIRONMENT) -> str:
    """What the last instruction, a USER, became."""
    user = walk(text, arguments)[-1].instruction
    assert isinstance(user, typed.User)
    return user.user


@pytest.mark.parametrize(
    ("text", "arguments", "value"),
    [
        ("FROM a\nARG A=1\nUSER x$A", {}, "x1"),
        ("FROM a\nARG A=1\nUSER x$A", {"A": "2"}, "x2"),
        ("FROM a\nARG A\nUSER x$A", {"A": "2"}, "x2"),
        ("FROM a\nARG A\nUSER x$A", {}, "x"),
        ("FROM a\nUSER x$A", {"A": "2"}, "x"),
        ("ARG A=1\nFROM a\nUSER x$A", {}, "x"),
        ("ARG A=1\nFROM a\nARG A\nUSER x$A", {}, "x1"),
        ("ARG A=1\nFROM a\nARG A\nUSER x$A", {"A": "2"}, "x2"),
        ("ARG A=1\nFROM a\nARG A=3\nUSER x$A", {}, "x3"),
        ("ARG A=1\nARG B=$A$A\nFROM a\nARG B\nUSER $B", {}, "11"),
        ("FROM a\nARG A=1 B=$A\nUSER $B", {}, "1"),
        ("FROM a\nENV A=1 B=$A\nUSER x$B", {}, "x"),
        ("FROM a\nENV A=1\nENV B=${A}2\nUSER $B", {}, "12"),
        ("FROM a\nARG A=1\nENV A=2\nUSER $A", {"A": "3"}, "2"),
        ("FROM a\nARG A=1\nENV A=${A:-x}\nUSER $A", {"A": "3"}, "3"),
        ("FROM a\nUSER $PATH", {}, DEFAULT_PATH),
        ("FROM a\nUSER x$TARGETARCH", {}, "x"),
        ("FROM a\nARG TARGETARCH\nUSER $TARGETARCH", {}, "amd64"),
        ("FROM a\nARG TARGETARCH\nUSER $TARGETARCH", {"TARGETARCH": "mine"}, "mine"),
        ("FROM a\nARG TARGETSTAGE\nUSER $TARGETSTAGE", {}, "default"),
        ("FROM a AS b\nARG TARGETSTAGE\nUSER $TARGETSTAGE", {}, "b"),
        ("FROM a\nUSER x$HTTP_PROXY", {"HTTP_PROXY": "p"}, "x"),
        ("FROM a\nARG HTTP_PROXY\nUSER $HTTP_PROXY", {"HTTP_PROXY": "p"}, "p"),
    ],
)
def test_a_variable_is_worth_what_its_scope_says(text: str, arguments: dict[str, str], value: str) -> None:
    assert worth(text, arguments) == value


def test_arguments_do_not_go_into_the_image() -> None:
    end = walk("FROM a\nARG A=1\nENV B=2\nARG C\n", {}, {"D": "3"})[-1].after
    assert end.environment == {"PATH": DEFAULT_PATH, "B": "2", "D": "3"}
    assert (end.arguments, set(end.declared)) == ({"A": "1"}, {"A", "C"})


def test_a_stage_inherits_what_its_parent_knew() -> None:
    parent = walk("FROM a\nARG A=1\nENV B=2\nARG B=3\n")[-1].after
    child = base_scope({}, parent)
    assert (child.variables["A"], child.variables["B"], child.environment["B"]) == ("1", "2", "2")


EVERYTHING = """FROM a
ENV A=x Q=755 P=80 M="a b"
ADD --chown=$A --chmod=0$Q $A.tar /$A/
COPY <<E <<'F' $A /$A
$A "$A" \\$A
E
$A
F
EXPOSE $P/udp ${P}-81
LABEL $A="$A'" l='$A'
STOPSIGNAL ${S:-int}
VOLUME /$A "/$M"
WORKDIR /$M
USER $A:$A
RUN --mount=target=/$A echo $A
CMD $A
"""
FIELDS = [
    (typed.Expose, "ports", ("80/udp", "80-81")),
    (typed.Label, "pairs", (typed.Pair("x", "x'"), typed.Pair("l", "$A"))),
    (typed.StopSignal, "signal", "SIGINT"),
    (typed.Volume, "paths", ("/x", "/a b")),
    (typed.Workdir, "path", "/a b"),
    (typed.User, "user", "x:x"),
    (typed.Cmd, "command", typed.Command(("$A",), True)),
    (typed.Run, "command", typed.Command(("echo $A",), True)),
    (typed.Add, "sources", ("x.tar",)),
    (typed.Add, "destination", "/x/"),
    (typed.Add, "chown", "x"),
    (typed.Add, "chmod", "0755"),
    (typed.Copy, "sources", ("x",)),
    (typed.Copy, "destination", "/x"),
]


@pytest.mark.parametrize(("kind", "name", "value"), FIELDS)
def test_every_field_that_takes_variables_gets_them(kind: type[typed.Instruction], name: str, value: object) -> None:
    (instruction,) = (step.instruction for step in walk(EVERYTHING) if isinstance(step.instruction, kind))
    assert getattr(instruction, name) == value


def test_a_heredoc_takes_variables_unless_its_name_is_quoted() -> None:
    (copy,) = (step.instruction for step in walk(EVERYTHING) if isinstance(step.instruction, typed.Copy))
    assert [file.content for file in copy.files] == ['x "x" $A\n', "$A\n"]


def test_mounts_are_read_when_their_variables_are_known() -> None:
    (run,) = (step for step in walk(EVERYTHING) if isinstance(step.instruction, typed.Run))
    assert run.mounts == (Mount("bind", "/x", read_only=True),)


def test_words_part_only_where_the_language_parts_them() -> None:
    expose, volume = walk('FROM a\nENV P="80 81" V="a b"\nEXPOSE $P\nVOLUME /$V\n')[1:]
    assert isinstance(expose.instruction, typed.Expose)
    assert isinstance(volume.instruction, typed.Volume)
    assert (expose.instruction.ports, volume.instruction.paths) == (("80", "81"), ("/a b",))


def test_what_nobody_set_is_named_and_what_is_declared_is_not() -> None:
    steps = walk("FROM a\nARG D\nENV A=$B$D\nRUN --mount=target=/$C x\nARG E=$F\n")
    assert [set(step.unset) for step in steps] == [set(), {"B"}, {"C"}, {"F"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a\nUSER ${A:?is needed}\n", "Dockerfile:2:1 USER: A: is needed"),
        ("FROM a\nEXPOSE ${A:-x}\n", "Dockerfile:2:1 EXPOSE: 'x' is no port"),
        ("FROM a\nVOLUME $A\n", "Dockerfile:2:1 VOLUME: a path of VOLUME is empty"),
        ("FROM a\nRUN --mount=type=${A:-x},target=/b c\n", "Dockerfile:2:1 RUN: 'x' is no type of mount"),
        ("FROM a\nSTOPSIGNAL $A\n", "Dockerfile:2:1 STOPSIGNAL: '' is no signal"),
        ("FROM a\nCOPY https://example.com/x /b\n", "Dockerfile:2:1 COPY: COPY does not fetch"),
        ("FROM a\nADD --checksum=${A:-x} b /c\n", "Dockerfile:2:1 ADD: --checksum is for one source"),
        ("FROM a\nCOPY --chmod=${A:-999} b /c\n", "Dockerfile:2:1 COPY: '999' is no mode"),
        ("ARG A=${B?}\nFROM a\n", "Dockerfile:1:1 ARG: B: is not set"),
        ('FROM a\nLABEL a="$b\n', "Dockerfile:2:1 LABEL: the closing double quote is missing"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        walk(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("source", "remote"),
    [
        ("a/b.git", None),
        ("./https:/x", None),
        ("https://example.com/a.tar", Remote.HTTP),
        ("https://example.com/a.git", Remote.GIT),
        ("https://example.com/a.git#v1:sub", Remote.GIT),
        ("git@example.com:a/b.git", Remote.GIT),
        ("git://example.com/a", Remote.GIT),
        ("ssh://git@example.com/a", Remote.GIT),
        ("https://example.com/a.git/x.tar", Remote.HTTP),
    ],
)
def test_a_source_is_a_path_a_url_or_a_repository(source: str, remote: Remote | None) -> None:
    assert remote_of(source) is remote


def test_a_value_given_to_the_build_spares_a_default_that_fails() -> None:
    assert worth("FROM a\nARG A=${B?}\nUSER $A\n", {"A": "x"}) == "x"


def test_platforms_are_told_in_parts() -> None:
    inputs = Inputs(target_platform=Platform.parse("arm"), build_platform=Platform.parse("x86_64"), target="t")
    values = evaluation.predefined(inputs, "t")
    assert (values["TARGETPLATFORM"], values["TARGETARCH"], values["TARGETVARIANT"]) == ("linux/arm/v7", "arm", "v7")
    assert (values["BUILDPLATFORM"], values["BUILDOS"], values["TARGETSTAGE"]) == ("linux/amd64", "linux", "t")


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("amd64", "linux/amd64"),
        ("linux", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("armhf", "linux/arm/v7"),
        ("Windows/AMD64", "windows/amd64"),
        ("linux/s390x", "linux/s390x"),
    ],
)
def test_a_platform_has_one_name(text: str, platform: str) -> None:
    assert str(Platform.parse(text)) == platform


def test_proxies_reach_run_and_other_arguments_must_be_declared() -> None:
    dockerfile = parse("ARG A\nFROM a\nARG B\n", "Dockerfile")
    inputs = Inputs(dict.fromkeys(["A", "B", "C", "http_proxy", "TARGETOS", "BUILDKIT_X", "SOURCE_DATE_EPOCH"], "v"))
    assert evaluation.unused_arguments(dockerfile, inputs) == ("C",)
    assert evaluation.proxy_environment(inputs) == {"HTTP_PROXY": "v", "http_proxy": "v"}


STARTS = ["ENV A=", "ENV A", "ARG B=", "USER", "COPY a", "EXPOSE 80", "RUN --mount=target=/", "LABEL a=b", "X"]
words = st.text(st.sampled_from("ABx$\\{}:-?#/'\" "), max_size=10)
lines = st.builds("{} {}".format, st.sampled_from(STARTS), words)


@settings(max_examples=200, deadline=None)
@given(st.lists(lines, max_size=6), st.dictionaries(st.sampled_from("AB"), words))
def test_any_dockerfile_is_evaluated_or_refused(rows: list[str], arguments: dict[str, str]) -> None:
    try:
        dockerfile: Dockerfile = parse("\n".join(["FROM scratch", *rows]), "Dockerfile")
        steps = walk("\n".join(["FROM scratch", *rows]), arguments)
    except Invalid as error:
        assert error.problems
        return
    assert len(steps) == len(dockerfile.stages[0].instructions)
    assert all(step.before.environment.keys() <= step.after.environment.keys() for step in steps)
