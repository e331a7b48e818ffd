"""Facts of an image: its blobs and layers are there; its source is still what was made into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.caller import caller
from reconciler.engine import Engine
from reconciler.observe.shared import Shared
from reconciler.registries import read_registries
from reconciler.store.records import Record
from reconciler.wanted.images import image_wanted
from runtime.images.ensure import read_fingerprint
from runtime.images.from_registry import resolve_image
from runtime.images.record import ImageRecord, Origin
from runtime.images.registry.settings import RegistrySettings
from runtime.images.store import damage, read_image
from schemas.build import BuildSpec
from schemas.errors import Invalid, TrimtabError
from schemas.image import ImageSpec

MOST_NAMED = 3
"""Files that a difference names."""
ASKING_SECONDS = 5.0
"""How long a registry may take to say what a tag names, when it is only looked at."""


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    """Whether all of it is there, and whether it is still what its source offers."""
    have = read_image(engine.layout, record.key.name)
    if have is None:
        return {"content": "missing", "source": "unchanged"}
    broken = damage(engine.layout, have)
    spec = ImageSpec.model_validate(record.fields["spec"])
    source = _source(engine, record, spec, have)
    return {"content": broken or "intact", "source": source, **_pushed(engine, spec, have)}


def _source(engine: Engine, record: Record, spec: ImageSpec, have: ImageRecord) -> str:
    if spec.build is not None:
        return _build_state(engine, record.key.name, spec.build, have)
    if spec.commit is not None:
        from reconciler.images.committing import wish_of  # only where something is committed

        return "unchanged" if have.wanted == wish_of(spec.commit) else "changed"
    if spec.follow is not None:
        return _followed_state(engine, record.key.name, spec, have)
    return "unchanged" if _is_current(engine, record, spec, have) else "changed"


def _followed_state(engine: Engine, name: str, spec: ImageSpec, have: ImageRecord) -> str:
    """Whether the one that was chosen is the one that is here. The registry is asked by the daemon's timer alone."""
    from reconciler.images.selection import effective

    chosen = effective(engine.database, name, spec)
    try:
        same = have.wanted == image_wanted(name, chosen).digest()
    except TrimtabError:
        return "changed"  # whom to trust cannot be read
    return "unchanged" if same else f"{_pin(have.reference)}, and {_pin(chosen.ref or '')} was chosen"


def _pin(reference: str) -> str:
    """Tag and the beginning of the digest, to tell by."""
    name, _, digest = reference.rpartition("/")[2].partition("@")
    return f"{name}@{digest[:19]}" if digest else name


def _pushed(engine: Engine, spec: ImageSpec, have: ImageRecord) -> dict[str, Any]:
    if spec.push is None:
        return {}
    from reconciler.images.pushing import observed_facts  # only where something is pushed

    facts, unknown = observed_facts(engine.layout, spec.push, have, _impatient(read_registries(engine.layout)))
    return {"pushed": facts, "unknown": unknown}


def _build_state(engine: Engine, name: str, spec: BuildSpec, have: ImageRecord) -> str:
    """Whether a build would make what there is; if not, which of the files that it takes changed.

    One that cannot be planned, a base or a context that is gone, leaves the image as it is.
    """
    from reconciler.build.build import look, read_files  # only where something is built
    from reconciler.wanted.builds import build_wanted

    if have.origin is not Origin.BUILD:
        return "changed"
    try:
        fingerprint, files = look(engine.layout, build_wanted(name, spec, caller().environment))
    except Invalid:
        return "changed"
    except (TrimtabError, OSError):
        return "unchanged"
    if fingerprint == have.fingerprint:
        return "unchanged"
    before = read_files(engine.layout, name)
    changed = sorted(path for path in before.keys() | files.keys() if before.get(path) != files.get(path))
    if not changed:
        return "changed"
    more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
    return f"changed: {', '.join(changed[:MOST_NAMED])}{more}"


def _is_current(engine: Engine, record: Record, spec: ImageSpec, have: ImageRecord) -> bool:
    """Whether path or tag still hold what the image was made of.

    One that cannot be asked, a path that is gone, a registry that does not answer, leaves the image as it is.
    """
    try:
        wanted = image_wanted(record.key.name, spec)
    except TrimtabError:
        return False  # whom to trust cannot be read: nobody
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
