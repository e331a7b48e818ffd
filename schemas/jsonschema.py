"""JSON Schemas of whole manifests, short forms included, so that an editor completes and underlines.

Made from the models: their types give the shapes, their declarations the descriptions. A schema judges before
variables are filled in and sees one manifest at a time; what needs more stays with the models and `check`. Written to
docs/schemas by `reference_docs`, printed by `trimtab schema`.

Source: JSON Schema 2020-12.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.field import Spec, declared_fields, fields_of
from schemas.names import API_VERSION, NAME_PATTERN, Kind
from schemas.spec_models import SPEC_MODELS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
TEXTS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}


def file_name(kind: Kind) -> str:
    """Of a kind's schema in docs/schemas."""
    return f"{kind.value.lower()}.schema.json"


def manifest_schema(kind: Kind) -> Schema:
    """The JSON Schema of a manifest of one kind, complete in itself."""
    definitions = _definitions()
    body = _manifest(kind)
    return {
        "$schema": DIALECT,
        "title": f"trimtab {kind.value}",
        **body,
        "$defs": _reachable(body, definitions),
    }


def any_manifest_schema() -> Schema:
    """The JSON Schema of a manifest of any kind, chosen by `kind`, and of a List of them."""
    branches = [
        {"if": {"properties": {"kind": {"const": kind.value}}}, "then": {"$ref": f"#/$defs/{kind.value}"}}
        for kind in Kind
    ]
    items = {"if": {"properties": {"kind": {"const": "List"}}}, "then": {"properties": {"items": _list_of_manifests()}}}
    manifests = {kind.value: _manifest(kind) for kind in Kind}
    return {
        "$schema": DIALECT,
        "title": "trimtab manifest",
        "type": "object",
        "properties": {"kind": {"enum": [*(kind.value for kind in Kind), "List"]}},
        "required": ["apiVersion", "kind"],
        "allOf": [*branches, items],
        "$defs": {**manifests, **_definitions()},
    }


def _list_of_manifests() -> Schema:
    return {"type": "array", "items": {"$ref": "#"}}


def _manifest(kind: Kind) -> Schema:
    model = SPEC_MODELS[kind]
    needs_spec = any(field.is_required() for field in model.model_fields.values()) or "oneOf" in _extra(model)
    spec: Schema = {"$ref": f"#/$defs/{model.__name__}", "description": model.__doc__ or ""}
    return {
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind.value},
            "metadata": {"$ref": "#/$defs/metadata"},
            "spec": spec if needs_spec else {"anyOf": [spec, {"type": "null"}]},
        },
        "patternProperties": {"^x-": {}},
        "required": ["apiVersion", "kind", "metadata", *(["spec"] if needs_spec else [])],
        "additionalProperties": False,
    }


def _metadata() -> Schema:
    return {
        "type": "object",
        "description": "What the object is called, and notes on it.",
        "properties": {
            "name": {"type": ["string", "integer"], "pattern": NAME_PATTERN, "description": "Unique among its kind."},
            "labels": {**TEXTS, "description": "Notes to select by; changed in place."},
            "annotations": {
                **TEXTS,
                "description": "Notes for tools, and trimtab/prune, reconcile, self-heal, window.",
            },
        },
        "required": ["name"],
        "additionalProperties": False,
    }


def _extra(model: type[BaseModel]) -> Mapping[str, Any]:
    extra = model.model_config.get("json_schema_extra")
    return extra if isinstance(extra, dict) else {}


@cache
def _definitions() -> Schema:
    """Every model as a definition by its name, with descriptions and effects in place."""
    models = list(_models())
    _, together = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions = together["$defs"]
    for model in models:
        _describe(model, definitions[model.__name__])
    return {name: _tidy(definitions[name]) for name in sorted(definitions)} | {"metadata": _metadata()}


def _models() -> Iterator[type[Spec]]:
    seen: dict[type[Spec], None] = {}
    for model in SPEC_MODELS.values():
        seen[model] = None
        seen.update((info.model, None) for info in fields_of(model).values() if info.model is not None)
    yield from seen


def _describe(model: type[Spec], definition: Schema) -> None:
    required = definition.get("required", ())
    definition.pop("title", None)
    for name, _, declared in declared_fields(model):
        schema = definition["properties"][name]
        schema.pop("title", None)
        default = schema.pop("default", None)
        plain = isinstance(default, str | int | float) and default != "" and not declared.default
        branches = _branches(schema)
        if name not in required and {"type": "null"} not in branches:
            branches.append({"type": "null"})
        notes = [declared.unit, f"default: {declared.default}" if declared.default else ""]
        notes += [f"a change: {declared.effect}" if declared.effect else ""]
        said = "; ".join(note for note in notes if note)
        definition["properties"][name] = {
            "description": declared.description + (f" ({said})" if said else ""),
            **({"default": default} if plain else {}),
            **(branches[0] if len(branches) == 1 else {"anyOf": branches}),
        }


def _branches(schema: Schema) -> list[Schema]:
    """The alternatives of a schema, those of alternatives included."""
    if set(schema) == {"anyOf"} or (set(schema) == {"allOf"} and len(schema["allOf"]) == 1):
        (alternatives,) = schema.values()
        return [branch for alternative in alternatives for branch in _branches(alternative)]
    return [schema]


def _tidy(schema: Any) -> Any:
    """The same with its keywords sorted, whichever version of pydantic made it; fields stay in their order."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: _tidy(below) for field, below in schema[name].items()}
        if name == "properties"
        else _tidy(schema[name])
        for name in sorted(schema)
    }


def _reachable(root: Any, definitions: Schema) -> Schema:
    """The definitions that `root` refers to, and those refer to, sorted."""
    found: set[str] = set()
    pending = list(_references(root))
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += _references(definitions[name])
    return {name: definitions[name] for name in sorted(found)}


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix("#/$defs/")
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)
