"""What pydantic says about a spec, said to the manifest's author: the place, one sentence, a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas.errors import Place, Problem
from schemas.field_path import format_path
from schemas.manifest import Manifest
from schemas.yaml_text import find_spot

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


def explain_spec(model: type[BaseModel], manifest: Manifest, error: ValidationError) -> Iterator[Problem]:
    for each in error.errors(include_url=False):
        path = ("spec", *each["loc"])
        line, column = find_spot(manifest.spot, path)
        place = Place(manifest.file, line + 1, column + 1)
        message, _, remedy = each["msg"].removeprefix("Value error, ").partition("; ")
        yield Problem(place, str(manifest.key), format_path(path), message, remedy)
