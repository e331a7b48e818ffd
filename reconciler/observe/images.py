"""Facts of an image: its blobs and layers are there; its source is still what was made into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.engine import Engine
from reconciler.observe.shared import Shared
from reconciler.store.records import Record
from reconciler.wanted.images import image_wanted
from runtime.images.ensure import read_fingerprint
from runtime.images.store import damage, read_image
from schemas.errors import Refused
from schemas.image import ImageSpec


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    have = read_image(engine.layout, record.key.name)
    if have is None:
        return {"content": "missing", "source": "unchanged"}
    broken = damage(engine.layout, have)
    return {"content": broken or "intact", "source": _source(record, have.fingerprint)}


def _source(record: Record, fingerprint: str) -> str:
    """Whether a path still holds what the image was made of. A path that is gone leaves the image as it is."""
    spec = ImageSpec.model_validate(record.fields["spec"])
    try:
        now = read_fingerprint(image_wanted(record.key.name, spec))
    except Refused:
        return "unchanged"
    return "unchanged" if now == fingerprint else "changed"
