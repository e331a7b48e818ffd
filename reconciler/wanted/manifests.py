"""A declared object as the manifest it would be written as: canonical, applying back to no difference."""

from __future__ import annotations

from typing import Any

from reconciler.kinds.fields import metadata_fields, spec_fields
from schemas.envelope import Declared
from schemas.names import API_VERSION


def manifest_of(item: Declared) -> dict[str, Any]:
    """An object as a manifest in canonical form, without what is not set."""
    return {
        "apiVersion": API_VERSION,
        "kind": item.key.kind.value,
        "metadata": {"name": item.key.name, **metadata_fields(item.metadata)},
        "spec": spec_fields(item.spec),
    }
