"""A container's changes as an image, by hand and for `Image.spec.commit`: hold it, take them, let it go on.

Committed already is what was committed by the same wish: the container's name, author, message and changes. What the
container has written since is no difference, nor is another container by that name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.build.configure import changed
from reconciler.build.container import image_of, read_standing
from runtime.images.commit import CommitWanted
from runtime.images.commit import commit as make
from runtime.images.progress import Report
from runtime.images.record import ImageRecord
from runtime.images.store import damage, read_image
from runtime.layout import Layout
from runtime.process import client
from runtime.process.records import Phase
from schemas.image_commit import CommitSpec
from schemas.reference import Reference


@dataclass(frozen=True, slots=True)
class Notes:
    """For the image's history."""

    author: str = ""
    message: str = ""


def commit(
    layout: Layout,
    container: str,
    name: str,
    notes: Notes,
    changes: Sequence[str],
    *,
    pause: bool,
    progress: Report,
    wish: str = "",
) -> ImageRecord:
    """Raises Refused, RetryLater, and Invalid for a change that is none."""
    standing = read_standing(layout, container)
    base = image_of(layout, standing)
    config = changed(base.config, changes)
    wanted = CommitWanted(
        name,
        container,
        base,
        standing.upper,
        config,
        standing.mounted,
        notes.author,
        notes.message,
        tags=_tags(name),
        wish=wish,
    )
    with _held(layout, container) if pause else _as_it_is():
        return make(layout, wanted, progress=progress)


def wish_of(spec: CommitSpec) -> str:
    """Digest of what decides what is committed, and when again."""
    parts = [spec.container, spec.author or "", spec.message or "", list(spec.changes)]
    return f"commit:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def ensure_committed(layout: Layout, name: str, spec: CommitSpec, progress: Report) -> ImageRecord:
    """As it was committed, or committed now: also where what was committed is gone. Raises as `commit`."""
    wish = wish_of(spec)
    have = read_image(layout, name)
    if have is not None and have.wanted == wish and damage(layout, have) is None:
        return have
    notes = Notes(spec.author or "", spec.message or "")
    return commit(layout, spec.container, name, notes, spec.changes, pause=spec.pause, progress=progress, wish=wish)


def _tags(image: str) -> tuple[str, ...]:
    """What a manifest may say: `image: NAME`."""
    try:
        return (str(Reference.parse(image)),)
    except ValueError:
        return ()


@contextmanager
def _held(layout: Layout, name: str) -> Iterator[None]:
    """Paused, if it runs."""
    process = client.read_process(layout, name)
    if process is None or process.phase is not Phase.RUNNING:
        yield
        return
    client.pause(layout, name)
    try:
        yield
    finally:
        client.resume(layout, name)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
