"""Dockerfiles read whole: the form of the file, its instructions, and what is told of those that are wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.dockerfile import instructions as typed
from schemas.dockerfile.heredoc import Heredoc
from schemas.dockerfile.instructions import Command, Instruction, Pair
from schemas.dockerfile.parse import Dockerfile, parse, parse_trigger
from schemas.errors import Invalid


def read(text: str) -> Dockerfile:
    return parse(text, "Dockerfile")


def only(line: str) -> Instruction:
    """The one instruction of a stage that has no other."""
    (instruction,) = read(f"FROM scratch\n{line}\n").stages[0].instructions
    return instruction


def refusal(text: str) -> str:
    with pytest.raises(Invalid) as caught:
        read(text)
    return str(caught.value)


def run_text(text: str) -> str:
    (run,) = read(f"FROM scratch\n{text}").stages[0].instructions
    assert isinstance(run, typed.Run)
    return run.command.words[0]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("RUN a \\\n  b\n", "a   b"),
        ("RUN a\\\nb", "ab"),
        ("RUN a \\\n# comment\n\n  b\n", "a   b"),
        ("RUN a \\  \n b", "a  b"),
        ("RUN a \\", "a"),
        ("RUN a \\\r\n  b\r\n", "a   b"),
        ("\t RUN  a", "a"),
        ("RUN a\\\\\n", "a\\\\"),
        ("RUN \\\n a", "a"),
        ("RUN a # b", "a # b"),
        ("RUN ['a', 'b']", "['a', 'b']"),
        ('RUN ["a", "b"', '["a", "b"'),
        ('RUN ["a"] && b', '["a"] && b'),
        ("RUN -- a --b", "a --b"),
    ],
)
def test_a_command_is_one_text_however_it_is_broken(text: str, command: str) -> None:
    assert run_text(text) == command


def test_the_escape_directive_changes_what_continues_a_line() -> None:
    dockerfile = read("# escape=`\nFROM scratch\nRUN a `\n b\\\nENV x=`$y\n")
    run, env = dockerfile.stages[0].instructions
    assert isinstance(run, typed.Run)
    assert (dockerfile.escape, run.command.words) == ("`", ("a  b\\",))
    assert isinstance(env, typed.Env)


@pytest.mark.parametrize("before", ["# a comment\n", "\n", "#\n", "# unknown=1\n", "FROM x\n"])
def test_a_directive_after_anything_else_is_a_comment(before: str) -> None:
    assert read(f"{before}# escape=`\nFROM scratch\n").escape == "\\"


def test_directives_are_kept_with_their_places() -> None:
    dockerfile = read("\ufeff#syntax = docker/dockerfile:1\n # Check= skip=A, B;error=true\nFROM scratch\n")
    assert [(each.name, each.value, each.place.line) for each in dockerfile.directives] == [
        ("syntax", "docker/dockerfile:1", 1),
        ("check", "skip=A, B;error=true", 2),
    ]
    assert (set(dockerfile.check.skip), dockerfile.check.error) == ({"A", "B"}, True)


def test_a_heredoc_is_read_to_its_end_and_no_further() -> None:
    text = "RUN <<EOF\nRUN not an instruction\n# no comment\n\n a \\\nEOF\nUSER me\n"
    run, user = read(f"FROM scratch\n{text}").stages[0].instructions
    assert isinstance(run, typed.Run)
    (heredoc,) = run.heredocs
    assert heredoc.content == "RUN not an instruction\n# no comment\n\n a \\\n"
    assert (run.command.words, heredoc.expands, run.origin.last_line) == (("<<EOF",), True, 7)
    assert isinstance(user, typed.User)


@pytest.mark.parametrize(
    ("mark", "name", "expands", "strips_tabs", "descriptor"),
    [
        ("<<end", "end", True, False, 0),
        ("<<-end", "end", True, True, 0),
        ("<< end", "end", True, False, 0),
        ("3<<end", "end", True, False, 3),
        ("<<'end'", "end", False, False, 0),
        ('<<-"end"', "end", False, True, 0),
        ("<<en'd'", "end", False, False, 0),
        ("<<e\\'d", "e'd", True, False, 0),
        ("<<'e'n\\'d", "en'd", False, False, 0),
        ("<<'the end'", "the end", False, False, 0),
        ("<<$end", "$end", True, False, 0),
        ("<<end.txt", "end.txt", True, False, 0),
        ("python3 <<end -", "end", True, False, 0),
        ("<<  end  > file", "end", True, False, 0),
    ],
)
def test_a_heredoc_is_named_as_a_shell_would_name_it(
    mark: str, name: str, expands: bool, strips_tabs: bool, descriptor: int
) -> None:
    (run,) = read(f"FROM scratch\nRUN {mark}\n\ta\n{name}\n").stages[0].instructions
    assert isinstance(run, typed.Run)
    assert run.heredocs == (Heredoc(name, "\ta\n", expands, strips_tabs, descriptor),)


def test_a_heredoc_ends_at_its_own_name_alone() -> None:
    copy = only("COPY <<a <<b /to\nb\na\na\nb")
    assert isinstance(copy, typed.Copy)
    assert [file.content for file in copy.files] == ["b\n", "a\n"]


def test_several_heredocs_follow_in_their_order() -> None:
    copy = only('COPY <<-A <<"B" c /to/\n\t1\n\tA\nA\n\t$2\nB')
    assert isinstance(copy, typed.Copy)
    first, second = copy.files
    assert (first.name, first.content, first.expands) == ("A", "1\n", True)
    assert copy.sources == ("c",)
    assert refusal("FROM scratch\nRUN <<A\nx\n").startswith("Dockerfile:2:1 RUN: the heredoc A does not end")
    assert (second.name, second.content, second.expands) == ("B", "A\n\t$2\n", False)


@pytest.mark.parametrize(
    "line", ["RUN a <<< b", "RUN a $((1<<2))", 'RUN ["a", "<<EOF"]', "RUN echo '<<EOF'", "CMD <<EOF"]
)
def test_what_only_looks_like_a_heredoc_is_none(line: str) -> None:
    instruction = only(line)
    assert not getattr(instruction, "heredocs", ())


def test_a_trigger_keeps_its_heredoc() -> None:
    onbuild = only("ONBUILD copy <<EOF /to\nhello\nEOF")
    assert isinstance(onbuild, typed.OnBuild)
    assert onbuild.expression == "copy <<EOF /to\nhello\nEOF"
    trigger = parse_trigger(onbuild.expression, "base image")
    assert isinstance(trigger, typed.Copy)
    assert trigger.files[0].content == "hello\n"


def from_scratch(line: str) -> tuple[Callable[..., Instruction], tuple[object, ...]]:
    """What an instruction is, without its origin."""
    instruction = only(line)
    return type(instruction), tuple(
        getattr(instruction, name) for name in type(instruction).__dataclass_fields__ if name != "origin"
    )


@pytest.mark.parametrize(
    ("line", "kind", "fields"),
    [
        ("ARG A B=c D=", typed.Arg, [(("A", None), ("B", "c"), ("D", ""))]),
        ('ARG A="b c"', typed.Arg, [(("A", '"b c"'),)]),
        ("MAINTAINER a <b@c>", typed.Maintainer, ["a <b@c>"]),
        ("WORKDIR /a b", typed.Workdir, ["/a b"]),
        ("USER a:b", typed.User, ["a:b"]),
        ("STOPSIGNAL SIGUSR1", typed.StopSignal, ["SIGUSR1"]),
        ("STOPSIGNAL $S", typed.StopSignal, ["$S"]),
        ('SHELL ["a", "-c"]', typed.Shell, [("a", "-c")]),
        ("VOLUME /a /b", typed.Volume, [("/a", "/b")]),
        ('VOLUME ["/a b"]', typed.Volume, [("/a b",)]),
        ("EXPOSE 80 53/udp $P", typed.Expose, [("80", "53/udp", "$P")]),
        ("CMD a $b", typed.Cmd, [Command(("a $b",), True)]),
        ('CMD ["a", "b"]', typed.Cmd, [Command(("a", "b"), False)]),
        ("CMD []", typed.Cmd, [Command((), False)]),
        ('ENTRYPOINT [ "a" ]', typed.Entrypoint, [Command(("a",), False)]),
        ("HEALTHCHECK NONE", typed.Healthcheck, [("NONE",), None, None, None, None, None]),
        ("HEALTHCHECK CMD a b", typed.Healthcheck, [("CMD-SHELL", "a b"), None, None, None, None, None]),
        (
            'HEALTHCHECK --interval=1m --timeout=2s --start-period=0s --start-interval=5ms --retries=3 CMD ["a"]',
            typed.Healthcheck,
            [("CMD", "a"), 60.0, 2.0, 0.0, 0.005, 3],
        ),
    ],
)
def test_an_instruction_is_typed(line: str, kind: type[Instruction], fields: list[object]) -> None:
    found_kind, found = from_scratch(line)
    if kind is typed.Arg:
        instruction = only(line)
        assert isinstance(instruction, typed.Arg)
        found = (tuple((each.name, each.default) for each in instruction.arguments),)
    assert (found_kind, list(found)) == (kind, fields)


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("ENV a b c", [Pair("a", "b c", True)]),
        ("ENV a\t b", [Pair("a", "b", True)]),
        ("ENV a=b c=d", [Pair("a", "b"), Pair("c", "d")]),
        ("ENV a=\"b c\" d='e f' g=h\\ i", [Pair("a", '"b c"'), Pair("d", "'e f'"), Pair("g", "h\\ i")]),
        ("ENV a= b=", [Pair("a", ""), Pair("b", "")]),
        ("ENV a=b=c", [Pair("a", "b=c")]),
        ("ENV a=b \\\n   c=d \\\n", [Pair("a", "b"), Pair("c", "d")]),
        ('ENV a="b \\\n c"', [Pair("a", '"b  c"')]),
    ],
)
def test_env_is_read_in_its_old_form_and_in_its_new(line: str, pairs: list[Pair]) -> None:
    env = only(line)
    assert isinstance(env, typed.Env)
    assert list(env.pairs) == pairs


def test_copy_and_add_take_their_flags() -> None:
    copy = only(
        "COPY --from=0 --chown=1:2 --chmod=u+x --link --parents=false --exclude=a --exclude=b --exclude='c d' x /y"
    )
    assert isinstance(copy, typed.Copy)
    assert (copy.from_, copy.chown, copy.chmod, copy.link, copy.parents) == ("0", "1:2", "u+x", True, False)
    assert (copy.exclude, copy.sources, copy.destination) == (("a", "b", "c d"), ("x",), "/y")
    checksum = "sha256:" + "0" * 64
    add = only(f"ADD --keep-git-dir --checksum={checksum} --unpack=false https://example.com/x /y")
    assert isinstance(add, typed.Add)
    assert (add.keep_git_dir, add.checksum, add.unpack, add.link) == (True, checksum, False, False)


def test_stages_begin_at_from_and_arguments_before_them_are_apart() -> None:
    dockerfile = read("ARG A=1\nARG B\nFROM --platform=$P a:$A as Build\nRUN x\nFROM build\n")
    assert [each.arguments[0].name for each in dockerfile.arguments] == ["A", "B"]
    first, second = dockerfile.stages
    assert (first.start.image, first.start.platform, first.start.stage) == ("a:$A", "$P", "build")
    assert (first.name, second.name, len(first.instructions), second.instructions) == ("build", "1", 1, ())


@pytest.mark.parametrize(
    ("text", "start", "remedy"),
    [
        ("", "Dockerfile:1:1: has no instruction", "begin with FROM"),
        ("# only\n\n#comments", "Dockerfile:1:1: has no instruction", "begin with FROM"),
        ("ARG a\n", "Dockerfile:1:1: has no FROM", "begin with FROM"),
        ("RUN a\nFROM b\n", "Dockerfile:1:1 RUN: RUN stands before", "begin with FROM"),
        ("FROM a\n\nRUNN b\n", "Dockerfile:3:1 RUNN: RUNN is no instruction", "did you mean RUN?"),
        ("FROM a b\n", "Dockerfile:1:1 FROM: FROM takes an image", "FROM IMAGE [AS NAME]"),
        ("FROM a AS 1b\n", "Dockerfile:1:11 FROM: '1b' cannot name", "begin with a letter"),
        ("FROM --platform=a/b/c/d e\n", "Dockerfile:1:6 FROM: 'a/b/c/d' is no platform", "linux/amd64"),
        ("FROM a\nCOPY --form=b c d", "Dockerfile:2:6 COPY: --form is no flag", "did you mean --from?"),
        ("FROM a\nUSER --x b", "Dockerfile:2:6 USER: --x is no flag of USER", "it takes none"),
        ("FROM a\nCOPY --link --link b c", "Dockerfile:2:13 COPY: --link is given twice", "once"),
        ("FROM a\nCOPY --link=perhaps b c", "Dockerfile:2:6 COPY: --link=perhaps is neither", "--link"),
        ("FROM a\nCOPY --chown b c", "Dockerfile:2:6 COPY: --chown has no value", "--chown=VALUE"),
        ("FROM a\nCOPY --from=$x b c", "Dockerfile:2:6 COPY: variables do not count", "name a stage"),
        ("FROM a\nCOPY b", "Dockerfile:2:1 COPY: COPY needs a source and a destination", "COPY SOURCE"),
        ("FROM a\nCOPY b <<C\nC\n", "Dockerfile:2:8 COPY: COPY cannot write into a heredoc", "<<EOF"),
        ("FROM a\nCOPY <<../b /c\n../b\n", "Dockerfile:2:6 COPY: ../b cannot name a file", "without slashes"),
        ("FROM a\nADD --checksum=x b c", "Dockerfile:2:5 ADD: 'x' is no checksum", "sha256:"),
        ("FROM a\nCOPY --chmod=+q b c", "Dockerfile:2:6 COPY: '+q' is no mode", "0755"),
        ("FROM a\nENV b", "Dockerfile:2:5 ENV: b has no value", "b=VALUE"),
        ("FROM a\nENV b=c d", "Dockerfile:2:9 ENV: d has no =", "quotes"),
        ("FROM a\nENV b=c \\\n    =d", "Dockerfile:3:5 ENV: =d has no name", "NAME=VALUE"),
        ("FROM a\nENV", "Dockerfile:2:1 ENV: ENV needs an argument", "ENV NAME=VALUE"),
        ("FROM a\nARG =b", "Dockerfile:2:5 ARG: =b has no name", "NAME=DEFAULT"),
        ('FROM a\nCMD ["b", 1]', "Dockerfile:2:5 CMD: the JSON array holds", "program"),
        ("FROM a\nSHELL b -c", "Dockerfile:2:1 SHELL: SHELL takes a JSON array", "SHELL ["),
        ('FROM a\nVOLUME [""]', "Dockerfile:2:8 VOLUME: VOLUME holds an empty path", "/PATH"),
        ("FROM a\nEXPOSE 80 a", "Dockerfile:2:11 EXPOSE: 'a' is no port", "8000-8010"),
        ("FROM a\nEXPOSE 80/icmp", "Dockerfile:2:8 EXPOSE: 'icmp' is no protocol", "tcp, udp or sctp"),
        ("FROM a\nSTOPSIGNAL SIGTREM", "Dockerfile:2:12 STOPSIGNAL: 'SIGTREM' is no signal", "SIGTERM"),
        ("FROM a\nRUN", "Dockerfile:2:1 RUN: RUN needs a command", "RUN COMMAND"),
        ("FROM a\nRUN --network=hots b", "Dockerfile:2:5 RUN: --network=hots cannot be", "did you mean host?"),
        ("FROM a\nRUN --security=none b", "Dockerfile:2:5 RUN: --security=none cannot be", "insecure"),
        ("FROM a\nRUN --mount=type=cahce,target=/b c", "Dockerfile:2:5 RUN: 'cahce' is no type", "did you mean cache?"),
        ("FROM a\nHEALTHCHECK CMD", "Dockerfile:2:13 HEALTHCHECK: HEALTHCHECK CMD needs", "COMMAND"),
        ("FROM a\nHEALTHCHECK GET /", "Dockerfile:2:13 HEALTHCHECK: 'GET' is no kind", "CMD … or NONE"),
        ("FROM a\nHEALTHCHECK --interval=5 CMD b", "Dockerfile:2:13 HEALTHCHECK: --interval=5 has no unit", "5s"),
        ("FROM a\nHEALTHCHECK --timeout=1us CMD b", "Dockerfile:2:13 HEALTHCHECK: --timeout=1us is too short", "1ms"),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD b", "Dockerfile:2:13 HEALTHCHECK: --retries=-1 is no number", "3"),
        ("FROM a\nONBUILD", "Dockerfile:2:1 ONBUILD: ONBUILD needs an instruction", "ONBUILD RUN"),
        ("FROM a\nONBUILD ONBUILD RUN b", "Dockerfile:2:9 ONBUILD: ONBUILD cannot be a trigger", "leave it out"),
        ("FROM a\nONBUILD FROM b", "Dockerfile:2:9 ONBUILD: FROM cannot be a trigger", "leave it out"),
        ("FROM a\nONBUILD \\\n COPY --x b c", "Dockerfile:3:7 ONBUILD: --x is no flag of COPY", "--chown"),
        ("# escape=x\nFROM a\n", "Dockerfile:1:1: the escape character 'x'", "write \\ or `"),
        ("# escape=`\n# escape=`\nFROM a\n", "Dockerfile:2:1: the parser directive escape stands twice", "leave one"),
        ("# check=skp=a\nFROM a\n", "Dockerfile:1:1 check: 'skp=a' is no option", "skip=RULES"),
        ("FROM a\nRUN b\0\n", "Dockerfile:2:6: holds a NUL", "remove it"),
        ("\\\n", "Dockerfile:1:1: nothing is continued", "begin the line with an instruction"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_a_remedy(text: str, start: str, remedy: str) -> None:
    message = refusal(text)
    assert message.startswith(start)
    assert remedy in message


def test_the_source_line_is_shown_with_a_mark_under_the_column() -> None:
    assert refusal("FROM a\n\tCOPY --chwon=1 b c\n").splitlines()[1:] == [
        "     COPY --chwon=1 b c",
        "          ^",
    ]


def test_a_long_source_line_is_shown_around_its_column() -> None:
    message = refusal("FROM a\nENV " + "a=b " * 200 + "c " + "d=e " * 200)
    shown, mark = message.splitlines()[1:]
    assert len(shown) < 170
    assert shown[mark.index("^")] == "c"


def test_every_problem_of_a_file_is_told_at_once() -> None:
    message = refusal("FROM a AS !\nENV b\nRUNN c\nHEALTHCHECK d\n")
    assert [line.split(" ")[0] for line in message.splitlines() if line.startswith("Dockerfile")] == [
        "Dockerfile:1:11",
        "Dockerfile:2:5",
        "Dockerfile:3:1",
        "Dockerfile:4:13",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\n" + "# c\n" * 100_000,
        "FROM a\nRUN " + "\\\n#\n" * 50_000 + "x",
        "FROM a\nCOPY " + "--exclude=a " * 20_000 + " a b",
        "FROM a\nENV " + "a=b " * 20_000,
        "FROM a\nRUN <<E\n" + "x\n" * 200_000 + "E\n",
    ],
    ids=["comments", "continuations", "flags", "pairs", "heredoc"],
)
def test_a_long_file_takes_time_in_proportion_to_its_length(text: str) -> None:
    begin = time.process_time()
    read(text)
    assert time.process_time() - begin < 5


def test_a_file_of_too_many_instructions_is_refused() -> None:
    read("FROM a\n" + "ENV b=c\n" * 4095)
    assert "Dockerfile:4097:1: holds more than 4096 instructions" in refusal("FROM a\n" + "ENV b=c\n" * 4096)


def test_an_endless_heredoc_hides_what_follows_it() -> None:
    assert refusal("FROM a\nRUN <<E\nnot an instruction\n").count("Dockerfile:") == 1


def test_instructions_remember_their_lines_and_comments() -> None:
    dockerfile = read("# far\n\n# near\n# nearer\nFROM a\n\n  RUN b \\\n\n    c\n")
    (run,) = dockerfile.stages[0].instructions
    assert dockerfile.stages[0].start.origin.comments == ("near", "nearer")
    assert (str(run.origin.place), run.origin.last_line, run.origin.text) == ("Dockerfile:7:3", 9, "RUN b     c")
    assert [str(place) for place in dockerfile.empty] == ["Dockerfile:8:1"]


def test_reading_a_dockerfile_imports_nothing_heavy() -> None:
    code = "import sys; from schemas.dockerfile import checks, ignore; print('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


LINES = [
    "FROM a",
    "FROM --platform=$P a AS b",
    "ARG A=${B:-c}",
    "ENV a=b \\",
    'ENV a "b',
    "RUN <<E",
    "E",
    "RUN --mount=type=cache,target=/x a",
    "COPY --from=b <<-X c /",
    "ONBUILD RUN a",
    "# escape=`",
    "# check=skip=all",
    'CMD ["a", "\\ud800"]',
    "\tX",
    "",
    "\\",
    "HEALTHCHECK --interval=1s CMD a",
    "EXPOSE 1-65535",
]
texts = st.text(max_size=60) | st.lists(st.sampled_from(LINES) | st.text(max_size=12), max_size=8).map("\n".join)


@settings(max_examples=200, deadline=None)
@given(texts)
@example("CMD " + "[" * 100_000)
@example("ONBUILD " * 1000)
@example("RUN \\\n" * 1000)
@example('FROM a\nCMD ["\\ud800"]')
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        dockerfile = read(text)
    except Invalid as error:
        assert error.problems
        assert str(error).encode()
        return
    for stage in dockerfile.stages:
        for instruction in stage.instructions:
            assert 1 <= instruction.origin.place.line <= instruction.origin.last_line <= len(dockerfile.lines)
