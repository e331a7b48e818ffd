"""How a field of a spec declares itself, and the one place to ask about it.

Each field is annotated with `live(...)`, `restart(...)`, `replace(...)` or, inside a nested model, `part(...)`,
which takes the effect of the field it belongs to:

    mem_limit: Annotated[Bytes | None, live("Memory the container may use.", unit="bytes")] = None

The planner, `trimtab explain`, the JSON Schemas and docs/reference read these declarations through `fields_of`
and `effect_of`, and nothing else. Reading a manifest is not done here, nor comparing two specs.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from schemas.spelling import Spelling

Effect = Literal["live", "restart", "replace"]
EFFECTS: tuple[Effect, ...] = ("live", "restart", "replace")
"""From the one that disturbs least to the one that disturbs most."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one annotation says. `default` is the default in words, for what the planner fills in."""

    description: str
    effect: Effect | None
    unit: str = ""
    default: str = ""


def live(description: str, *, unit: str = "", default: str = "") -> Declaration:
    """A change is made in place: nothing stops."""
    return Declaration(description, "live", unit, default)


def restart(description: str, *, unit: str = "", default: str = "") -> Declaration:
    """A change stops and starts the same object: a container keeps its writable layer."""
    return Declaration(description, "restart", unit, default)


def replace(description: str, *, unit: str = "", default: str = "") -> Declaration:
    """A change removes the object and makes a new one."""
    return Declaration(description, "replace", unit, default)


def part(description: str, *, unit: str = "", default: str = "") -> Declaration:
    """A field of a nested model: a change has the effect of the field that holds it."""
    return Declaration(description, None, unit, default)


class Spec(BaseModel):
    """Base of every spec and of what nests in one: frozen, nothing unknown, built on first use."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_set(cls, value: Any) -> Any:
        if isinstance(value, dict) and None in value.values():
            return {name: item for name, item in value.items() if item is not None}
        return value


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field as a manifest's author sees it. `path` is dotted: `ports.target` is `target` of each of `ports`."""

    path: str
    effect: Effect
    type_text: str
    default: str
    unit: str
    description: str
    required: bool
    model: type[Spec] | None

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@cache
def fields_of(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """Every field of `model` and of what nests in it, by dotted path, in the order of declaration."""
    return types.MappingProxyType({info.path: info for info in _walk(model, "", "replace")})


def effect_of(model: type[BaseModel], path: Sequence[str | int]) -> Effect:
    """How a change at `path` reaches the living object; indices and keys of maps are passed over.

    `path` is relative to the spec: `("ports", 0, "target")`. Where it ends at a field with parts of its own, all of
    them may have changed: the farthest of their effects. Raises KeyError for an unknown first name.
    """
    fields = fields_of(model)
    dotted = str(path[0])
    found = fields[dotted].effect
    for step in path[1:]:
        longer = f"{dotted}.{step}"
        if longer in fields:
            dotted, found = longer, fields[longer].effect
    below = [info.effect for info in fields.values() if info.path.startswith(f"{dotted}.")]
    return max((found, *below), key=EFFECTS.index)


def nested_model(annotation: Any) -> type[Spec] | None:
    """The spec model inside `X | None`, `tuple[X, ...]`, `dict[str, X]` or `Annotated[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    found = (nested_model(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def declared_fields(model: type[BaseModel]) -> Iterator[tuple[str, Any, Declaration]]:
    """Name as written in a manifest, pydantic's own field, and declaration. Raises TypeError if there is none."""
    for name, field in model.model_fields.items():
        declared = next((item for item in field.metadata if isinstance(item, Declaration)), None)
        if declared is None:
            raise TypeError(f"{model.__name__}.{name} declares no effect and description")
        yield field.alias or name, field, declared


def _walk(model: type[BaseModel], prefix: str, inherited: Effect) -> Iterator[FieldInfo]:
    for name, field, declared in declared_fields(model):
        effect = declared.effect or inherited
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        nested = nested_model(annotation)
        yield FieldInfo(
            path=prefix + name,
            effect=effect,
            type_text=describe_type(annotation),
            default=declared.default or _default_text(field.default),
            unit=declared.unit,
            description=declared.description,
            required=field.is_required(),
            model=nested,
        )
        if nested is not None:
            yield from _walk(nested, f"{prefix}{name}.", effect)


def _default_text(default: Any) -> str:
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, str | int | float):
        return str(default)
    return ""


def describe_type(annotation: Any) -> str:
    """A type as a manifest's author would say it: `list of size`, `map of string`, `one of tcp, udp`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        spelling = next((item for item in reversed(arguments) if isinstance(item, Spelling) and item.says), None)
        return spelling.says if spelling else describe_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_type(item) for item in arguments if item is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(str(item) for item in arguments)
    if origin is tuple:
        return f"list of {describe_type(arguments[0])}"
    if origin is dict:
        return f"map of {describe_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return "object"
    return {str: "string", int: "integer", float: "number", bool: "boolean"}.get(annotation, "value")
