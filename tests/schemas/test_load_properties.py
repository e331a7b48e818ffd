"""What holds for any text whatsoever: it loads or is refused with places inside it, and order changes nothing."""

from __future__ import annotations

import random
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from schemas.envelope import Declared
from schemas.errors import Invalid, Problem
from schemas.load import Text, load_with
from schemas.names import Kind


class Port(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    target: int


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = ""
    replicas: int = 1
    ports: tuple[int | str | Port, ...] = ()
    environment: dict[str, str | int | float | bool | None] | tuple[str, ...] = ()


MODELS = dict.fromkeys(Kind, Spec)
YAML_SYNTAX = "&a *a <<: - ? : | > ' \" ! !!int @ % , [ ] { } # --- ... \t \n \x85 \u2028 ${A} $ ~ 0o7 1.10"

words = st.sampled_from(
    ["apiVersion", "kind", "metadata", "spec", "name", "image", "ports", "Container", "List", "items", "trimtab/v1"]
)
fragments = st.one_of(words, st.sampled_from(YAML_SYNTAX.split(" ")), st.sampled_from(["\n", "\n  ", " ", ": ", "- "]))
yaml_like = st.one_of(st.text(), st.lists(fragments, max_size=40).map("".join), st.binary())

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8), words)
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=6), inner, max_size=4)
)
manifests = st.builds(
    lambda name, kind, spec: {"apiVersion": "trimtab/v1", "kind": kind, "metadata": {"name": name}, "spec": spec},
    st.from_regex("[a-z0-9]{1,6}", fullmatch=True) | st.text(max_size=4),
    st.sampled_from([kind.value for kind in Kind] * 3 + ["Pod"]),
    st.fixed_dictionaries({}, optional={"image": scalars, "replicas": scalars, "ports": values, "environment": values}),
)


def outcome(sources: list[Text]) -> tuple[tuple[Declared, ...], tuple[Problem, ...]]:
    try:
        return load_with(MODELS, sources, {"A": "text"}), ()
    except Invalid as refusal:
        return (), refusal.problems


def is_inside(problem: Problem, text: str | bytes) -> bool:
    decoded = text if isinstance(text, str) else text.decode(errors="replace")
    lines = decoded.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return 1 <= problem.place.line <= len(lines) and 1 <= problem.place.column <= len(lines[problem.place.line - 1]) + 1


@settings(max_examples=400, deadline=None)
@example("a: [")
@example("a\r\r\r\t: [")
@example("\u2028[")
@example("? " * 70)
@example("a: &a\n  b: *a")
@given(yaml_like)
def test_any_text_loads_or_is_refused_with_places_inside_it(text: str | bytes) -> None:
    _, problems = outcome([Text("a.yaml", text)])
    for problem in problems:
        assert problem.place.file == "a.yaml"
        assert is_inside(problem, text), problem
        assert problem.message


@settings(max_examples=200, deadline=None)
@given(st.lists(manifests, max_size=3), st.booleans())
def test_any_manifest_loads_or_is_refused_with_places_inside_it(documents: list[Any], flow: bool) -> None:
    text = yaml.safe_dump_all(documents, default_flow_style=flow, allow_unicode=True)
    _, problems = outcome([Text("a.yaml", text)])
    for problem in problems:
        assert is_inside(problem, text), problem
        assert not problem.message.startswith("Input should"), problem


@settings(max_examples=100, deadline=None)
@given(st.lists(manifests, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(documents: list[Any], shuffler: random.Random) -> None:
    sources = [Text(f"{index}.yaml", yaml.safe_dump(each)) for index, each in enumerate(documents)]
    shuffled = list(sources)
    shuffler.shuffle(shuffled)
    assert outcome(sources) == outcome(shuffled)
