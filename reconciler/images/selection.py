"""Which image of those that a manifest follows is the chosen one, kept in the store.

Called where an image is observed and made: the chosen reference, with its digest, stands in the place of the
manifest's. Where nothing was chosen yet, the first is chosen when the image is made.
"""

from __future__ import annotations

import time
from dataclasses import replace

from reconciler.images.follow import Followed, candidate_tags, chosen, known_for, offered, read_followed
from reconciler.store.database import Database
from reconciler.store.standing import Topic, read_one, write_standing
from runtime.images.heads import read_heads
from runtime.images.platforms import Platform
from runtime.images.registry.settings import RegistrySettings
from runtime.images.tags import read_created, read_tags
from schemas.errors import Missing, RetryLater
from schemas.image import ImageSpec
from schemas.reference import Reference


def read_state(database: Database, name: str, spec: ImageSpec) -> Followed:
    """What is known of the image's wish."""
    assert spec.ref is not None and spec.follow is not None
    value = read_one(database, Topic.FOLLOWED, name)
    return known_for(read_followed(value) if value is not None else Followed(), spec.ref, spec.follow)


def write_state(database: Database, name: str, state: Followed | None) -> None:
    """None: the image is gone, or follows nothing any more."""
    write_standing(database, Topic.FOLLOWED, {name: state.fields() if state is not None else None})


def effective(database: Database, name: str, spec: ImageSpec) -> ImageSpec:
    """The spec with the chosen reference, where one was chosen."""
    if spec.follow is None or spec.ref is None:
        return spec
    selected = read_state(database, name, spec).selected
    return spec.model_copy(update={"ref": selected}) if selected else spec


def ensure_chosen(database: Database, name: str, spec: ImageSpec, settings: RegistrySettings) -> ImageSpec:
    """As `effective`; the first time the registry is asked. Raises Refused, RetryLater."""
    if spec.follow is None or spec.ref is None:
        return spec
    state = read_state(database, name, spec)
    if not state.selected:
        state = chosen(look(state, spec, settings), time.time(), {}, is_open=True)
        if not state.selected:
            raise Missing(f"{spec.ref}: {state.failure}", object=f"Image/{name}", step="follow")
    write_state(database, name, state)
    return spec.model_copy(update={"ref": state.selected})


def look(state: Followed, spec: ImageSpec, settings: RegistrySettings) -> Followed:
    """Ask the registry. Raises Refused, RetryLater."""
    assert spec.ref is not None and spec.follow is not None
    base = Reference.parse(spec.ref)
    tags = () if spec.follow.policy == "digest" else read_tags(base, settings)
    references = {tag: replace(base, tag=tag, digest=None) for tag in candidate_tags(spec.follow, spec.ref, tags)}
    heads = read_heads((str(each) for each in references.values()), settings)
    pinned: dict[str, Reference] = {}
    for reference in references.values():
        head = heads[str(reference)]
        if head.unknown:
            raise RetryLater(head.unknown, object=str(reference), step="follow")
        if head.digest:
            pinned[head.digest] = replace(reference, digest=head.digest)
    if spec.follow.policy == "newest-by-time":
        platform = Platform.parse(spec.platform) if spec.platform else None
        asked = [digest for digest in pinned if digest not in state.times]
        times = {digest: at for digest, at in state.times.items() if digest in pinned}
        times |= read_created(base, asked, settings, platform)
        state = replace(state, times=times)
        newest = max(pinned, key=lambda digest: (times[digest], digest), default="")
        return offered(state, str(pinned[newest]) if newest else "", time.time())
    return offered(state, str(next(iter(pinned.values()), "")), time.time())
