"""Every kind through the whole of loading: any value in any field is read, or refused in words and at its place."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.check import check
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem
from schemas.field import fields_of
from schemas.load import Text, load
from schemas.names import Kind
from schemas.spec_models import SPEC_MODELS

PYDANTIC = re.compile(r"Input should|valid (string|integer|dict|list|tuple)|Field required|Extra inputs|Value error")
FIELDS = [(kind, path) for kind, model in SPEC_MODELS.items() for path in fields_of(model)]
JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    "",
    "x",
    "a:b:c",
    "\u00e9",
    [],
    [None],
    [[]],
    ["x", "x"],
    {},
    {"x": None},
]


def load_spec(kind: Kind, spec: Any) -> tuple[tuple[Declared, ...], tuple[Problem, ...]]:
    text = json.dumps({"apiVersion": "trimtab/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    try:
        return load([Text("a.json", text)], {}), ()
    except Invalid as refusal:
        for problem in refusal.problems:
            assert (problem.place.file, problem.place.line) == ("a.json", 1)
            assert 1 <= problem.place.column <= len(text)
            assert problem.object == f"{kind}/x"
            assert problem.field.startswith("spec"), problem
            assert problem.message
            assert not PYDANTIC.search(problem.message + problem.remedy), problem
        return (), refusal.problems


def nested(path: str, value: Any, *, in_list: bool) -> dict[str, Any]:
    """`a.b` as {"a": {"b": value}} or {"a": [{"b": value}]}."""
    for name in reversed(path.split(".")[1:]):
        value = [{name: value}] if in_list else {name: value}
    return {path.split(".")[0]: value}


@pytest.mark.parametrize(("kind", "path"), FIELDS, ids=[f"{kind}.{path}" for kind, path in FIELDS])
def test_junk_in_a_field_is_read_or_refused_in_words(kind: Kind, path: str) -> None:
    for value in JUNK:
        load_spec(kind, nested(path, value, in_list=False))
        load_spec(kind, nested(path, value, in_list=True))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
values = st.recursive(
    scalars | st.sampled_from(["80:80", "data:/x:ro", "10s", "64m", "nginx:1", "container:x", "10.0.0.0/24"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def specs(draw: st.DrawFn) -> tuple[Kind, dict[str, Any]]:
    kind = draw(st.sampled_from(list(Kind)))
    names = st.sampled_from(list(SPEC_MODELS[kind].model_fields)) | st.text(max_size=6)
    return kind, draw(st.dictionaries(names, values, max_size=5))


@settings(max_examples=300, deadline=None)
@given(specs())
def test_any_spec_is_read_and_checked_or_refused_in_words(case: tuple[Kind, dict[str, Any]]) -> None:
    objects, problems = load_spec(*case)
    assert bool(objects) != bool(problems)
    for problem in check(objects):
        assert problem.place.file == "a.json"


NUMBERS = [
    ("Container", "pids_limit: ${V}", "pids_limit", 20, "20"),
    ("Container", "init: ${V}", "init", True, "true"),
    ("Container", "cpus: ${V}", "cpus", 0.5, "0.5"),
    ("Container", "mem_limit: ${V}", "mem_limit", 2**26, "64m"),
    ("Container", "mem_limit: ${V}", "mem_limit", 50_000_000, "50000000"),
    ("Container", "user: ${V}", "user", "1000", "1000"),
    ("Container", "environment: {VERSION: '${V}'}", "environment", {"VERSION": "1.10"}, "1.10"),
    ("Container", "environment: {VERSION: 1.10, N: 0777}", "environment", {"VERSION": "1.10", "N": "0777"}, ""),
    ("Container", "environment: {A: yes, B: no, C: on}", "environment", {"A": "yes", "B": "no", "C": "on"}, ""),
    ("Container", "command: [sleep, 1_0, 1e3]", "command", ("sleep", "1_0", "1e3"), ""),
    ("Container", "hostname: ${V}", "hostname", "12", "12"),
]


@pytest.mark.parametrize(
    ("kind", "line", "field", "value", "variable"), NUMBERS, ids=[f"{n[1]} {n[4]}" for n in NUMBERS]
)
def test_a_variable_becomes_what_its_field_holds(kind: str, line: str, field: str, value: Any, variable: str) -> None:
    text = f"apiVersion: trimtab/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n  image: a\n  {line}\n"
    (declared,) = load([Text("a.yaml", text)], {"V": variable})
    assert getattr(declared.spec, field) == value


def test_replicas_may_come_from_a_variable() -> None:
    text = (
        "apiVersion: trimtab/v1\nkind: Service\nmetadata: {name: x}\nspec: {image: a, deploy: {replicas: '${N:-3}'}}\n"
    )
    (service,) = load([Text("a.yaml", text)], {})
    assert service.spec.deploy.replicas == 3  # type: ignore[attr-defined]


def test_a_port_written_as_yaml_1_1_would_misread_it_is_a_port() -> None:
    text = "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: x}\nspec: {image: a, ports: [22:22, 12:30]}\n"
    (web,) = load([Text("a.yaml", text)], {})
    assert [port.target for port in web.spec.ports] == [22, 30]  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["0444", '"0444"', "0o444", '"444"'])
def test_a_mode_is_octal_however_it_is_spelled(mode: str) -> None:
    spec = f"{{image: a, secrets: [{{source: k, mode: {mode}}}]}}"
    text = f"apiVersion: trimtab/v1\nkind: Container\nmetadata: {{name: x}}\nspec: {spec}\n"
    (web,) = load([Text("a.yaml", text)], {})
    assert web.spec.secrets[0].mode == 0o444  # type: ignore[attr-defined]
