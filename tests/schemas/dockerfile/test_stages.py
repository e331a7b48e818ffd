"""Which stage needs which, and what a target leaves out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from schemas.dockerfile.evaluate import Inputs
from schemas.dockerfile.parse import parse
from schemas.dockerfile.platform import Platform
from schemas.dockerfile.stages import ContextSource, ImageSource, Nothing, StageGraph, StageSource, resolve_stages
from schemas.errors import Invalid

NONE: Mapping[str, str] = {}


def resolve(
    text: str, target: str = "", arguments: Mapping[str, str] = NONE, contexts: Collection[str] = ()
) -> StageGraph:
    return resolve_stages(parse(text, "Dockerfile"), Inputs(arguments, target), contexts)


THREE = """FROM golang:1 AS build
RUN make
FROM debian AS unused
FROM scratch AS base
FROM base
COPY --from=build /a /a
RUN --mount=from=build,target=/b --mount=type=tmpfs,target=/t --mount=from=alpine,target=/c true
COPY b /b
"""


def test_a_stage_takes_from_stages_images_and_the_context() -> None:
    graph = resolve(THREE)
    last = graph.stages[3]
    alpine = ImageSource("alpine", "docker.io/library/alpine:latest")
    assert (last.base, set(last.needs)) == (StageSource(2), {0, 2})
    assert last.sources == {0: (StageSource(0),), 1: (StageSource(0), None, alpine)}
    assert isinstance(graph.stages[2].base, Nothing)


def test_a_stage_that_the_target_does_not_need_is_left_out() -> None:
    graph = resolve(THREE)
    assert (graph.target, graph.needed) == (3, (0, 2, 3))
    assert graph.images == ("docker.io/library/alpine:latest", "docker.io/library/golang:1")


@pytest.mark.parametrize(("target", "needed"), [("build", (0,)), ("BASE", (2,)), ("1", (1,)), ("", (0, 2, 3))])
def test_a_target_is_a_name_or_a_number(target: str, needed: tuple[int, ...]) -> None:
    assert resolve(THREE, target).needed == needed


def test_a_base_may_depend_on_arguments() -> None:
    text = "ARG B=one\nARG T=1\nFROM a:$T AS one\nFROM b:${T:-2} AS two\nFROM $B\n"
    assert resolve(text).needed == (0, 2)
    assert resolve(text, arguments={"B": "two"}).needed == (1, 2)
    assert resolve(text, arguments={"T": "3"}).stages[1].base == ImageSource("b:3", "docker.io/library/b:3")


def test_a_stage_may_be_named_as_the_image_it_is_based_on() -> None:
    graph = resolve("FROM alpine AS alpine\nFROM alpine\n")
    assert isinstance(graph.stages[0].base, ImageSource)
    assert graph.stages[1].base == StageSource(0)


def test_of_two_stages_with_one_name_the_nearer_counts() -> None:
    assert resolve("FROM x AS a\nFROM y AS a\nFROM a\n").needed == (1, 2)


def test_a_named_context_stands_in_for_images_and_for_stages() -> None:
    text = "FROM alpine:latest\nCOPY --from=src . .\nFROM x AS mid\nFROM mid\nCOPY --from=0 a b\n"
    graph = resolve(text, contexts=["docker.io/library/alpine", "src", "mid"])
    assert graph.stages[0].base == ContextSource("docker.io/library/alpine")
    assert graph.stages[0].sources == {0: (ContextSource("src"),)}
    assert graph.stages[1].replaced_by == ContextSource("mid")
    assert graph.needed == (0, 1, 2)
    assert graph.images == ()


def test_platforms_follow_the_base() -> None:
    text = "FROM --platform=$BUILDPLATFORM a AS one\nFROM one\nFROM --platform=arm64 b\nFROM c\n"
    inputs = Inputs(target_platform=Platform("linux", "riscv64"))
    graph = resolve_stages(parse(text, "Dockerfile"), inputs)
    platforms = [str(stage.platform) for stage in graph.stages]
    assert platforms == ["linux/amd64", "linux/amd64", "linux/arm64", "linux/riscv64"]


def test_triggers_run_first_in_the_stage_built_on_them() -> None:
    text = "FROM s AS src\nFROM a AS one\nONBUILD COPY --from=src x /x\nFROM one\nRUN b\n"
    dockerfile = parse(text, "Dockerfile")
    graph = resolve_stages(dockerfile, Inputs(), triggers={1: ("RUN first", "COPY <<E /e\nhi\nE")})
    one, two = graph.stages[1:]
    first = ["RUN first", "COPY <<E /e", "ONBUILD COPY --from=src x /x"]
    assert [each.origin.text for each in one.instructions] == first
    assert [each.origin.text for each in two.instructions] == ["COPY --from=src x /x", "RUN b"]
    assert (set(one.needs), set(two.needs), graph.needed) == (set(), {0, 1}, (0, 1, 2))


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("FROM $A\n", "Dockerfile:1:1 FROM: the base $A is empty", "give its ARG a value"),
        ("FROM Web:1\n", "Dockerfile:1:1 FROM: the repository 'Web' has capitals", "write 'web'"),
        ("FROM ${A?no}\n", "Dockerfile:1:1 FROM: A: no", ""),
        ("FROM --platform=$A b\n", "Dockerfile:1:1 FROM: --platform=$A is empty", "use $BUILDPLATFORM"),
        ("FROM --platform=$BULIDPLATFORM b\n", "Dockerfile:1:1 FROM: --platform", "did you mean $BUILDPLATFORM?"),
        ("FROM --platform=${A:-a/b/c/d} b\n", "Dockerfile:1:1 FROM: 'a/b/c/d' is no platform", "linux/amd64"),
        ("FROM a AS b\nCOPY --from=b c d\n", "Dockerfile:2:1 COPY: stage b is not above", "from itself"),
        ("FROM a\nCOPY --from=c d e\nFROM b AS c\n", "Dockerfile:2:1 COPY: stage c is not above", "move that stage up"),
        ("FROM a\nCOPY --from=1 d e\nFROM b\n", "Dockerfile:2:1 COPY: there is no stage 1 above", "no stage"),
        ("FROM a\nRUN --mount=from=c,target=/d e\nFROM b AS c\n", "Dockerfile:2:1 RUN: stage c is not above", "move"),
        ("FROM a\nCOPY --from=A:b c d\n", "Dockerfile:2:1 COPY: the repository 'A' has capitals", "write 'a'"),
    ],
)
def test_a_source_that_cannot_be_is_told_with_its_place(text: str, message: str, remedy: str) -> None:
    with pytest.raises(Invalid) as caught:
        resolve(text)
    assert str(caught.value).startswith(message)
    assert remedy in str(caught.value)


def test_a_target_that_is_no_stage_has_the_nearest_as_remedy() -> None:
    with pytest.raises(Invalid, match="has no stage biuld; did you mean build"):
        resolve(THREE, "biuld")
