"""Cache keys of a whole build, and what is left to do when some outcomes are found."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.build.graph import BuildGraph, plan_build
from reconciler.build.keys import Outside, early_keys, ready, unneeded
from reconciler.build.steps import FromContext, Start
from runtime.images.config import ImageConfig
from schemas.dockerfile.evaluate import Inputs
from schemas.dockerfile.parse import parse

CONFIGS = {"docker.io/library/debian:latest": ImageConfig()}
TEXT = """FROM debian AS build
COPY go.mod .
RUN download
COPY . .
RUN build
FROM debian AS docs
COPY docs .
RUN render
FROM debian
RUN install
COPY --from=build app .
COPY --link --from=docs html .
"""


def plan(text: str) -> BuildGraph:
    return plan_build(parse(text, "Dockerfile"), Inputs(), CONFIGS)


def keys(graph: BuildGraph, changed: str = "", image: str = "sha256:image") -> dict[int, str]:
    def digest(taken: Outside) -> str:
        assert isinstance(taken, FromContext)
        return f"{taken.paths} changed" if changed in taken.paths else f"{taken.paths}"

    starts = {step.number: image for step in graph.steps if isinstance(step.work, Start)}
    return early_keys(graph.steps, starts, digest)


def titles_of_other_keys(changed: str) -> list[str]:
    graph = plan(TEXT)
    before, after = keys(graph), keys(graph, changed)
    return [step.title for step in graph.steps if before[step.number] != after[step.number]]


def test_a_changed_file_is_felt_by_what_depends_on_it_alone() -> None:
    assert titles_of_other_keys("docs") == [
        "[docs 2/3] COPY docs .",
        "[docs 3/3] RUN render",
        "[stage-2 4/4] COPY --link --from=docs html .",
    ]
    assert titles_of_other_keys(".")[0] == "[build 4/5] COPY . ."
    assert titles_of_other_keys("elsewhere") == []


def test_another_base_image_is_felt_by_all_but_linked_copies_from_nowhere() -> None:
    graph = plan("FROM debian\nRUN x\nCOPY --link a /b\n")
    before, after = keys(graph), keys(graph, image="sha256:other")
    assert [before[number] == after[number] for number in range(3)] == [False, False, True]


def test_nothing_is_to_do_when_all_is_found() -> None:
    graph = plan(TEXT)
    every = set(range(len(graph.steps)))
    assert unneeded(graph.steps, graph.result.tree, every) == every


def test_a_found_step_spares_the_stages_it_takes_from() -> None:
    graph = plan(TEXT)
    by_title = {step.title: step.number for step in graph.steps}
    found = {by_title["[stage-2 3/4] COPY --from=build app ."]}
    left = set(range(len(graph.steps))) - unneeded(graph.steps, graph.result.tree, found)
    assert {graph.steps[number].title for number in left} == {
        "[build 1/5] FROM debian AS build",
        "[docs 2/3] COPY docs .",
        "[docs 3/3] RUN render",
        "[stage-2 2/4] RUN install",
        "[stage-2 4/4] COPY --link --from=docs html .",
    }


def test_independent_stages_are_ready_together() -> None:
    graph = plan(TEXT)
    every = range(len(graph.steps))
    assert ready(graph.steps, every, [], []) == [0]
    titles = [graph.steps[number].title for number in ready(graph.steps, every, [0], [])]
    assert titles == ["[build 2/5] COPY go.mod .", "[docs 2/3] COPY docs .", "[stage-2 2/4] RUN install"]
    assert len(ready(graph.steps, every, [0], [1])) == 2


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(0, 10)))
def test_what_is_ready_leads_to_the_end(found: set[int]) -> None:
    graph = plan(TEXT)
    to_do = set(range(len(graph.steps))) - unneeded(graph.steps, graph.result.tree, found)
    done: set[int] = set()
    while to_do - done:
        begun = ready(graph.steps, to_do, done, [])
        assert begun
        assert all(need in done or need in found for number in begun for need in graph.steps[number].needs)
        done.add(begun[-1])
    assert graph.result.tree in done | found
