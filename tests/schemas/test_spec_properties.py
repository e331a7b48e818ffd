"""What holds for every spec that can be generated from the models, and for every slightly broken manifest."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from schemas.check import check
from schemas.errors import Invalid
from schemas.jsonschema import any_manifest_schema
from schemas.load import Text, load
from schemas.names import Kind
from schemas.spec_models import SPEC_MODELS
from tests.schemas.inputs import inputs
from tests.schemas.strategies import broken_manifests, manifests

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def spec_of(manifest: dict[str, Any]) -> tuple[type[BaseModel], dict[str, Any]]:
    return SPEC_MODELS[Kind(manifest["kind"])], manifest["spec"]


@quick
@given(manifests())
def test_a_dumped_spec_reads_as_the_same_spec(manifest: dict[str, Any]) -> None:
    model, spec = spec_of(manifest)
    canonical = model.model_validate(spec)
    assert model.model_validate(canonical.model_dump()) == canonical
    assert model.model_validate_json(canonical.model_dump_json()) == canonical
    assert model.model_validate(canonical.model_dump(mode="json", exclude_defaults=True, by_alias=True)) == canonical


@quick
@given(manifests())
def test_what_a_model_accepts_its_json_schema_accepts(manifest: dict[str, Any]) -> None:
    errors = list(validator().iter_errors(json.loads(json.dumps(manifest))))
    assert not errors, errors[0]


@cache
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(any_manifest_schema())


UNORDERED = ("ports", "expose", "volumes", "tmpfs", "secrets", "configs", "cap_add", "cap_drop", "group_add", "devices")


@quick
@given(manifests(Kind.CONTAINER, Kind.SERVICE), st.randoms(use_true_random=False))
def test_the_order_of_what_has_none_changes_nothing(manifest: dict[str, Any], shuffler: random.Random) -> None:
    model, spec = spec_of(manifest)
    shuffled = {name: list(value) if isinstance(value, list) else value for name, value in spec.items()}
    for name in UNORDERED:
        if isinstance(shuffled.get(name), list):
            shuffler.shuffle(shuffled[name])
    one, other = model.model_validate(spec), model.model_validate(shuffled)
    assert one == other
    assert one.model_dump(mode="json") == other.model_dump(mode="json")


@quick
@given(manifests())
def test_a_generated_manifest_loads(manifest: dict[str, Any]) -> None:
    (declared,) = load([Text("a.json", json.dumps(manifest))], {})
    assert declared.key.kind.value == manifest["kind"]


@quick
@given(broken_manifests())
def test_a_broken_manifest_loads_or_is_refused_with_a_place(manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=1)
    try:
        load([Text("a.json", text)], {})
    except Invalid as refusal:
        assert refusal.problems
        for problem in refusal.problems:
            assert problem.place.file == "a.json"
            assert 1 <= problem.place.line <= len(text.splitlines())
            assert problem.message
            assert problem.remedy, problem


@pytest.mark.parametrize("kind", list(Kind))
def test_an_unknown_field_is_refused_by_every_kind(kind: Kind) -> None:
    text = json.dumps(
        {"apiVersion": "trimtab/v1", "kind": kind.value, "metadata": {"name": "a"}, "spec": {"nonsense": 1}}, indent=1
    )
    with pytest.raises(Invalid) as refusal:
        load([Text("a.json", text)], {})
    assert "spec.nonsense" in [problem.field for problem in refusal.value.problems]


@quick
@given(inputs())
def test_a_whole_input_can_be_generated(documents: list[dict[str, Any]]) -> None:
    declared = load([Text("a.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))], {})
    assert len(declared) == len(documents)
    assert check(declared) == []
