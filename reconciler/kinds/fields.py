"""A manifest as the JSON-like fields that are recorded and compared: what was set, in canonical form. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from schemas.envelope import Metadata


def spec_fields(spec: BaseModel, without: set[str] | None = None) -> dict[str, Any]:
    """Only what differs from its default: a field a newer trimtab adds changes nothing."""
    return spec.model_dump(mode="json", exclude_defaults=True, exclude=without, by_alias=True)


def metadata_fields(metadata: Metadata) -> dict[str, Any]:
    found = {"labels": dict(metadata.labels), "annotations": dict(metadata.annotations)}
    return {name: value for name, value in found.items() if value}
