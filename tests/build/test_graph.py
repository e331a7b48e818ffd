"""From a Dockerfile to steps: what is done on what, with which files, and what makes a step the same again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.build.graph import BuildGraph, missing_images, plan_build
from reconciler.build.steps import (
    Execute,
    FromContext,
    FromRemote,
    FromStep,
    MakeDirectory,
    Start,
    Step,
    Transfer,
    cache_key,
)
from reconciler.build.transfer import destination_of, source_path
from runtime.images.config import ImageConfig
from schemas.dockerfile.evaluate import DEFAULT_PATH, Inputs
from schemas.dockerfile.parse import parse
from schemas.dockerfile.platform import LINUX
from schemas.dockerfile.remote import Remote
from schemas.errors import Invalid

GO, DEBIAN = "docker.io/library/golang:1", "docker.io/library/debian:latest"
CONFIGS = {
    GO: ImageConfig(env=("PATH=/go/bin", "GO=1"), working_dir="/go"),
    DEBIAN: ImageConfig(env=("A=base",), cmd=("bash",), user="me", labels={"from": "base"}),
}
NONE: Mapping[str, str] = {}


def plan(text: str, arguments: Mapping[str, str] = NONE, target: str = "") -> BuildGraph:
    return plan_build(parse(text, "Dockerfile"), Inputs(arguments, target), CONFIGS)


def last(text: str, arguments: Mapping[str, str] = NONE) -> Step:
    return plan(text, arguments).steps[-1]


def executed(text: str, arguments: Mapping[str, str] = NONE) -> Execute:
    work = last(text, arguments).work
    assert isinstance(work, Execute)
    return work


THREE = """FROM golang:1 AS build
COPY go.mod .
RUN go build
FROM debian AS unused
RUN nothing
FROM debian AS run
WORKDIR /srv
COPY --from=build /go/app .
ENV B=2
CMD ["./app"]
"""


def test_steps_of_needed_stages_follow_each_other() -> None:
    graph = plan(THREE)
    assert [step.title for step in graph.steps] == [
        "[build 1/3] FROM golang:1 AS build",
        "[build 2/3] COPY go.mod .",
        "[build 3/3] RUN go build",
        "[run 1/3] FROM debian AS run",
        "[run 2/3] WORKDIR /srv",
        "[run 3/3] COPY --from=build /go/app .",
    ]
    assert [set(step.needs) for step in graph.steps] == [set(), {0}, {1}, set(), {3}, {2, 4}]
    assert graph.steps[3].work == Start(LINUX, DEBIAN)
    assert graph.steps[4].work == MakeDirectory("/srv", "me")
    assert graph.steps[5].inputs == (FromStep(2, ("go/app",)),)
    assert graph.result.tree == 5


def test_the_config_is_the_base_images_with_what_the_stage_says() -> None:
    config = plan(THREE).result.config
    expected = replace(
        CONFIGS[DEBIAN], env=("A=base", f"PATH={DEFAULT_PATH}", "B=2"), cmd=("./app",), working_dir="/srv"
    )
    assert config == expected


def test_the_history_names_every_instruction_and_the_step_of_its_layer() -> None:
    built = plan("ARG V=1\nFROM debian\nARG V\nRUN make\nENV C=$V\nMAINTAINER me\nCMD x\n").result
    assert [(line.created_by, line.step) for line in built.history] == [
        ("ARG V=1", None),
        ("RUN |1 V=1 /bin/sh -c make", 1),
        ("ENV C=1", None),
        ("MAINTAINER me", None),
        ('CMD ["/bin/sh", "-c", "x"]', None),
    ]
    assert (built.base, built.author) == (DEBIAN, "me")


@pytest.mark.parametrize(
    ("text", "cmd", "entrypoint"),
    [
        ("FROM debian\n", ("bash",), ()),
        ('FROM debian\nENTRYPOINT ["e"]\n', (), ("e",)),
        ('FROM debian\nCMD ["c"]\nENTRYPOINT ["e"]\n', ("c",), ("e",)),
        ('FROM debian AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["e"]\n', (), ("e",)),
        ('FROM debian\nSHELL ["/bin/bash", "-c"]\nCMD c\n', ("/bin/bash", "-c", "c"), ()),
    ],
)
def test_an_entrypoint_drops_the_command_of_the_base(
    text: str, cmd: tuple[str, ...], entrypoint: tuple[str, ...]
) -> None:
    config = plan(text).result.config
    assert (config.cmd, config.entrypoint) == (cmd, entrypoint)


def test_run_has_the_environment_the_user_and_the_directory_that_hold_there() -> None:
    work = executed("FROM golang:1\nARG V=1\nENV B=$V\nUSER you\nRUN make\n")
    assert dict(work.environment) == {"PATH": "/go/bin", "GO": "1", "V": "1", "B": "1"}
    assert (work.arguments, work.user, work.working_dir) == (("/bin/sh", "-c", "make"), "you", "/go")


def test_mounts_are_bound_to_what_they_show() -> None:
    text = """FROM debian AS tools
FROM golang:1
RUN --mount=target=src,source=a/../b --mount=type=cache,target=/c --mount=type=bind,from=tools,target=/t \\
    --mount=type=secret,id=s --mount=type=ssh --mount=type=secret,id=v,env=V --mount=from=debian,target=/d \\
    --mount=from=tools make
"""
    step = last(text)
    assert isinstance(step.work, Execute)
    assert [(each.target, each.taken) for each in step.work.mounts] == [
        ("/go/src", 0),
        ("/c", None),
        ("/t", 1),
        ("/run/secrets/s", None),
        ("/run/buildkit/ssh_agent.0", None),
        ("", None),
        ("/d", 2),
        ("/go", 3),
    ]
    assert step.inputs == (FromContext("", ("b",)), FromStep(0, (".",)), FromStep(0, (".",)), FromStep(0, (".",)))


def test_a_mount_over_everything_is_refused_with_its_place() -> None:
    with pytest.raises(Invalid, match="Dockerfile:2:1 RUN: a mount on '/' would hide everything"):
        plan("FROM debian\nRUN --mount=target=/ x\n")


def test_a_script_is_a_file_of_its_own() -> None:
    work = executed("FROM debian\nRUN <<EOF\n#!/bin/x\ny\nEOF\n")
    assert (work.arguments, work.script_path, work.script) == (("/dev/pipes/EOF",), "/dev/pipes/EOF", "#!/bin/x\ny\n")


@pytest.mark.parametrize(
    ("path", "working_dir", "is_directory", "destination"),
    [
        ("/a", "/w", False, "/a"),
        ("a", "/w", False, "/w/a"),
        ("a", "", False, "/a"),
        ("a/", "/w", False, "/w/a/"),
        (".", "/w", False, "/w/"),
        ("./", "", False, "/"),
        ("", "/w", False, "/w/"),
        ("/a", "/w", True, "/a/"),
        ("../../../a", "/w", False, "/a"),
        ("//a", "", False, "/a"),
    ],
)
def test_a_destination_is_absolute(path: str, working_dir: str, is_directory: bool, destination: str) -> None:
    assert destination_of(path, working_dir, is_directory=is_directory) == destination


@pytest.mark.parametrize(
    ("path", "within"),
    [("", "."), ("a", "a"), ("/a/", "a"), ("../../a", "a"), (".", "."), ("/", "."), ("a/./b", "a/b"), ("*", "*")],
)
def test_a_source_cannot_leave_what_it_is_taken_from(path: str, within: str) -> None:
    assert source_path(path) == within


def test_add_takes_paths_and_what_is_fetched_in_their_order() -> None:
    text = (
        "FROM debian\nADD --exclude=*.md --keep-git-dir a b https://example.com/c.tar c https://example.com/d.git /x\n"
    )
    step = last(text)
    assert step.inputs == (
        FromContext("", ("a", "b"), ("*.md",)),
        FromRemote("https://example.com/c.tar", Remote.HTTP, "", True),
        FromContext("", ("c",), ("*.md",)),
        FromRemote("https://example.com/d.git", Remote.GIT, "", True),
    )
    assert step.work == Transfer("/x/", unpack=True)


@pytest.mark.parametrize(
    ("flag", "unpack", "fetched"), [("", True, False), ("--unpack", True, True), ("--unpack=false", False, False)]
)
def test_add_unpacks_paths_unless_it_is_told_otherwise(flag: str, unpack: bool, fetched: bool) -> None:
    work = last(f"FROM debian\nADD {flag} a /b\n").work
    assert isinstance(work, Transfer)
    assert (work.unpack, work.unpack_fetched) == (unpack, fetched)


def test_a_linked_copy_depends_on_nothing_below_it() -> None:
    first, second = (last(f"FROM debian\nRUN {command}\nCOPY --link a /b\n") for command in ("x", "y"))
    assert (first.parent, first.on_top, set(first.needs)) == (None, 1, set())
    assert first.definition == second.definition


def test_images_are_asked_for_until_no_trigger_names_another() -> None:
    dockerfile = parse("FROM one\n", "Dockerfile")
    one, two = "docker.io/library/one:latest", "docker.io/library/two:latest"
    assert missing_images(dockerfile, Inputs(), {}) == (one,)
    known = {one: ImageConfig(on_build=("COPY --from=two a /a", "ENV X=1"))}
    assert missing_images(dockerfile, Inputs(), known) == (two,)
    known[two] = ImageConfig()
    assert missing_images(dockerfile, Inputs(), known) == ()
    result = plan_build(dockerfile, Inputs(), known).result
    assert (result.config.on_build, result.config.env[-1], result.tree) == ((), "X=1", 2)


def test_triggers_of_a_stage_stay_in_its_image_and_leave_those_built_on_it() -> None:
    graph = plan("FROM debian AS a\nONBUILD RUN x\nFROM a\nRUN y\n")
    assert (graph.stages[0].config.on_build, graph.result.config.on_build) == (("RUN x",), ())
    assert [step.title for step in graph.steps[1:]] == ["[stage-1 2/3] RUN x", "[stage-1 3/3] RUN y"]


def test_stages_that_begin_with_one_image_share_its_start() -> None:
    graph = plan("FROM debian AS a\nRUN x\nFROM debian\nCOPY --from=a /x /x\nCOPY --from=debian /y /y\n")
    assert [type(step.work) for step in graph.steps].count(Start) == 1


def test_a_named_context_takes_the_place_of_a_stage() -> None:
    dockerfile = parse("FROM golang:1 AS src\nRUN x\nFROM debian\nCOPY --from=src a /\nCOPY b /\n", "Dockerfile")
    graph = plan_build(dockerfile, Inputs(), CONFIGS, ["src"])
    starts = [step.work for step in graph.steps if isinstance(step.work, Start)]
    assert starts == [Start(LINUX, context="src"), Start(LINUX, DEBIAN)]
    assert missing_images(dockerfile, Inputs(), {}, ["src"]) == (DEBIAN,)


def test_steps_of_a_stage_are_done_anew_where_it_is_asked_for() -> None:
    dockerfile = parse(THREE, "Dockerfile")
    graph = plan_build(dockerfile, Inputs(), CONFIGS, without_cache=["build"])
    anew = [step.title for step in graph.steps if not step.is_cached]
    assert anew == ["[build 2/3] COPY go.mod .", "[build 3/3] RUN go build"]
    every = plan_build(dockerfile, Inputs(), CONFIGS, without_cache=["*"])
    assert [step.is_cached for step in every.steps] == [True, False, False, True, False, False]


SAME = [
    ("FROM debian\nRUN make\n", "# comment\nFROM debian\n\nRUN    make\n"),
    ("FROM debian\nCOPY a /b\n", "FROM debian AS named\nLABEL x=y\nCOPY ./a  /c/../b\n"),
    ("FROM debian\nRUN x\nCOPY a /b\n", "FROM debian\nRUN x\nRUN y\nCOPY a /b\n"),
    ("FROM debian AS a\nFROM debian\nCOPY --from=a b c\n", "FROM debian AS z\nRUN x\nFROM debian\nCOPY --from=z b c\n"),
]
DIFFERENT = [
    ("RUN make", "RUN make all"),
    ("RUN make", 'RUN ["make"]'),
    ("RUN make", "USER you\nRUN make"),
    ("RUN make", "ENV A=2\nRUN make"),
    ("RUN make", "ARG V=1\nRUN make"),
    ("RUN make", "WORKDIR /w\nRUN make"),
    ("RUN make", "RUN --network=none make"),
    ("RUN make", "RUN --mount=type=cache,target=/c make"),
    ("COPY a /b", "COPY a /b/"),
    ("COPY a /b", "COPY --chmod=0755 a /b"),
    ("COPY a /b", "COPY --chown=1 a /b"),
    ("COPY a /b", "ADD a /b"),
    ("COPY a /b", "COPY c /b"),
    ("COPY a /b", "COPY --exclude=x a /b"),
    ("COPY <<E /b\nx\nE", "COPY <<E /b\ny\nE"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_a_step_written_otherwise_is_the_same_step(one: str, other: str) -> None:
    assert last(one).definition == last(other).definition


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_a_step_that_does_something_else_is_another(one: str, other: str) -> None:
    assert last(f"FROM debian\n{one}\n").definition != last(f"FROM debian\n{other}\n").definition


def test_a_proxy_does_not_make_another_step_and_an_argument_does() -> None:
    text = "FROM debian\nARG V\nRUN make\n"
    assert last(text, {"HTTP_PROXY": "p"}).definition == last(text).definition
    assert last(text, {"V": "1"}).definition != last(text, {"V": "2"}).definition


def test_a_key_joins_the_definition_with_what_is_worked_on_and_taken() -> None:
    step = last("FROM debian\nCOPY a /b\n")
    key = cache_key(step, "sha256:base", ["sha256:files"])
    assert key == cache_key(replace(step, number=9, title="other"), "sha256:base", ["sha256:files"])
    assert len({key, cache_key(step, "sha256:other", ["sha256:files"]), cache_key(step, "sha256:base", ["x"])}) == 3
    with pytest.raises(ValueError, match="1 inputs have 0 contents"):
        cache_key(step, "sha256:base", [])


LINES = [
    "RUN x",
    "COPY a b",
    "COPY --link a b",
    "WORKDIR w",
    "ENV A=1",
    "COPY --from=0 a b",
    "RUN --mount=from=debian,target=/t x",
    "ONBUILD COPY --from=golang:1 a b",
]
stages = st.tuples(st.sampled_from(["debian", "golang:1", "s0", "s1"]), st.lists(st.sampled_from(LINES), max_size=4))


@settings(max_examples=100, deadline=None)
@given(st.lists(stages, max_size=4))
def test_steps_take_only_from_steps_before_them(written: list[tuple[str, list[str]]]) -> None:
    rows = ["FROM scratch AS s0", "FROM debian AS s1"]
    for number, (base, lines) in enumerate(written, 2):
        rows += [f"FROM {base} AS s{number}", *lines]
    graph = plan("\n".join(rows))
    for number, step in enumerate(graph.steps):
        assert step.number == number
        assert all(need < number for need in step.needs)
        assert json.loads(step.definition)["version"]
    assert graph.steps[graph.result.tree].stage <= graph.target
