"""Facts of an image: its blobs and layers are there; its source is still what was made into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.engine import Engine
from reconciler.observe.shared import Shared
from reconciler.registries import read_registries
from reconciler.store.records import Record
from reconciler.wanted.images import image_wanted
from runtime.images.ensure import read_fingerprint
from runtime.images.from_registry import resolve_image
from runtime.images.record import ImageRecord
from runtime.images.registry.settings import RegistrySettings
from runtime.images.store import damage, read_image
from schemas.errors import TrimtabError
from schemas.image import ImageSpec

ASKING_SECONDS = 5.0
"""How long a registry may take to say what a tag names, when it is only looked at."""


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    """Whether all of it is there, and whether it is still what its source offers."""
    have = read_image(engine.layout, record.key.name)
    if have is None:
        return {"content": "missing", "source": "unchanged"}
    broken = damage(engine.layout, have)
    return {"content": broken or "intact", "source": "unchanged" if _is_current(engine, record, have) else "changed"}


def _is_current(engine: Engine, record: Record, have: ImageRecord) -> bool:
    """Whether path or tag still hold what the image was made of.

    One that cannot be asked, a path that is gone, a registry that does not answer, leaves the image as it is.
    """
    spec = ImageSpec.model_validate(record.fields["spec"])
    wanted = image_wanted(record.key.name, spec)
    if have.wanted != wanted.digest():
        # recorded as asked for, and not brought yet: the apply was killed, or it could not be had
        return False
    try:
        if wanted.path is not None:
            return read_fingerprint(wanted) == have.fingerprint
        if wanted.pull_policy != "always":
            return True
        return resolve_image(wanted.reference(), _impatient(read_registries(engine.layout))) == have.resolved
    except TrimtabError:
        return True


def _impatient(settings: RegistrySettings) -> RegistrySettings:
    """To look is not worth the patience that a pull is."""
    return replace(
        settings,
        attempts=1,
        connect_timeout=min(settings.connect_timeout, ASKING_SECONDS),
        request_timeout=ASKING_SECONDS,
    )
