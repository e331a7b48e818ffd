"""The names a model knows at a path, for telling somebody who wrote a wrong one which is right.

Called by `spec_errors`. Follows a path of the input through pydantic models, maps, lists and unions by their types
alone, and validates nothing.
"""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel

from schemas.field_path import Path

Models = tuple[type[BaseModel], ...]


def names_at(model: type[BaseModel], path: Path) -> tuple[str, ...]:
    """The fields of the models at `path`, in order. Empty where the path leads to no model."""
    models: Models = (model,)
    for step in path:
        below = [_fields(each)[str(step)] for each in models if step in _fields(each)]
        if below:
            models = tuple(found for annotation in below for found in _models(annotation))
        # else: an index or the key of a map, which the type passes over
    return tuple(dict.fromkeys(name for each in models for name in _fields(each)))


def deeper_with(model: type[BaseModel], name: str) -> str | None:
    """The dotted path that ends with the field `name`, as `deploy.replicas`; None if there are several, or none."""
    found: list[str] = []
    level: list[tuple[str, type[BaseModel]]] = [("", model)]
    seen = {model}
    while level:
        below: list[tuple[str, type[BaseModel]]] = []
        for prefix, each in level:
            found += [f"{prefix}{name}"] if prefix and name in _fields(each) else []
            for field, annotation in _fields(each).items():
                below += [(f"{prefix}{field}.", nested) for nested in _models(annotation) if nested not in seen]
                seen.update(_models(annotation))
        level = below
    return found[0] if len(found) == 1 else None


def _models(annotation: Any) -> Models:
    """The models inside `X | None`, `tuple[X, ...]`, `dict[str, X]`, `Annotated[X, ...]`; not those inside X."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(found for argument in typing.get_args(annotation) for found in _models(argument))


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
