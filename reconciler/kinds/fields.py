"""A manifest as the JSON-like fields that are recorded and compared: what was set, in canonical form. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from schemas.envelope import Metadata


def spec_fields(spec: BaseModel, without: set[str] | None = None) -> dict[str, Any]:
    """Only what differs from its default: a field a newer trimtab adds changes nothing."""
    found = spec.model_dump(mode="json", exclude_defaults=True, exclude=without, by_alias=True)
    return {name: value for name, value in found.items() if value != {} or not _is_part(spec, name)}


def _is_part(spec: BaseModel, name: str) -> bool:
    """Whether a field is a model of its own: one that says nothing is as good as none, unlike an entry of a map."""
    return isinstance(getattr(spec, name, None), BaseModel)


def metadata_fields(metadata: Metadata) -> dict[str, Any]:
    """What of the metadata is compared: labels and annotations, where there are any."""
    found = {"labels": dict(metadata.labels), "annotations": dict(metadata.annotations)}
    return {name: value for name, value in found.items() if value}
