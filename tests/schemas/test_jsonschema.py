"""The JSON Schemas and the models say the same of the same examples."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from schemas.jsonschema import any_manifest_schema, manifest_schema
from schemas.names import Kind
from schemas.spec_models import SPEC_MODELS
from tests.schemas.examples import TABLE


def ids(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)[:60]


def manifest(kind: Kind, spec: Any) -> dict[str, Any]:
    return {"apiVersion": "trimtab/v1", "kind": kind.value, "metadata": {"name": "a"}, "spec": spec}


@cache
def validator(kind: Kind | None) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(manifest_schema(kind) if kind else any_manifest_schema())


@pytest.mark.parametrize(("kind", "verdict", "spec"), TABLE, ids=ids)
def test_a_model_judges_the_example(kind: Kind, verdict: str, spec: Any) -> None:
    if verdict == "ok":
        SPEC_MODELS[kind].model_validate(spec)
        return
    with pytest.raises(ValidationError) as refusal:
        SPEC_MODELS[kind].model_validate(spec)
    for error in refusal.value.errors():
        worded = error["type"] in ("value_error", "refused")
        assert not worded or "; " in error["msg"], "does not say what to write instead"


@pytest.mark.parametrize(("kind", "verdict", "spec"), TABLE, ids=ids)
def test_a_json_schema_judges_the_example(kind: Kind, verdict: str, spec: Any) -> None:
    whole = manifest(kind, spec)
    accepted = verdict != "no"
    assert validator(kind).is_valid(whole) is accepted
    assert validator(None).is_valid(whole) is accepted


@pytest.mark.parametrize("kind", list(Kind))
def test_a_schema_is_a_schema_and_stands_alone(kind: Kind) -> None:
    schema = manifest_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    references = set(found(schema))
    assert references
    assert references == {f"#/$defs/{name}" for name in schema["$defs"]}


def found(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [reference for value in schema.values() for reference in found(value)]
    return [reference for item in schema for reference in found(item)] if isinstance(schema, list) else []


@pytest.mark.parametrize(
    "broken",
    [
        {"apiVersion": "v1"},
        {"kind": "Pod"},
        {"metadata": {"name": "Web"}},
        {"metadata": {}},
        {"metadata": {"name": "web", "namespace": "x"}},
        {"status": {}},
        {"spec": None},
    ],
    ids=ids,
)
def test_a_broken_envelope_is_refused(broken: dict[str, Any]) -> None:
    assert not validator(None).is_valid(manifest(Kind.CONTAINER, {"image": "web"}) | broken)


def test_an_envelope_may_leave_the_spec_out_where_nothing_is_required() -> None:
    without = {"apiVersion": "trimtab/v1", "kind": "Volume", "metadata": {"name": "data"}, "x-note": 1}
    assert validator(None).is_valid(without)
    assert not validator(None).is_valid(without | {"kind": "Container"})


def test_a_list_holds_manifests() -> None:
    good, bad = manifest(Kind.VOLUME, {}), manifest(Kind.VOLUME, {"driver": "ceph"})
    whole = {"apiVersion": "v1", "kind": "List", "items": [good]}
    assert validator(None).is_valid(whole)
    assert not validator(None).is_valid(whole | {"items": [good, bad]})


@pytest.mark.parametrize(
    "spec",
    [
        {"image": "${IMAGE:-nginx}", "ports": ["${PORT:-80}:80"], "cpus": "${CPUS}", "privileged": "${PRIVILEGED}"},
        {"image": "web", "volumes": ["${DATA}:/srv"], "mem_limit": "${MEMORY}", "restart": "${RESTART-no}"},
        {"image": "web", "ports": [{"target": "$PORT", "protocol": "${PROTOCOL}"}], "pids_limit": "$PIDS"},
    ],
    ids=ids,
)
def test_a_variable_is_not_judged_before_it_is_filled_in(spec: dict[str, Any]) -> None:
    assert validator(Kind.CONTAINER).is_valid(manifest(Kind.CONTAINER, spec))
