"""An image made of a container's changes: one more layer over the image it runs.

Called by the reconciler, for `trimtab image commit` and for `Image.spec.commit`. The caller has the container paused
if it wants the files to agree with each other. Does not know containers: it is given directories.

Source: OCI image-spec 1.1, layer.md "Representing Changes", "Whiteouts"; config.md "history".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from runtime.images.changes import Change, Kind, read_changes
from runtime.images.config import ImageConfig, ImageDocument
from runtime.images.found import Found, add_image, read_found
from runtime.images.leases import Lease
from runtime.images.limits import Limits
from runtime.images.making import Making, record_of
from runtime.images.progress import Report, Step, ignore
from runtime.images.record import ImageRecord
from runtime.images.rootfs import Sink
from runtime.images.store import layer_directories, write_image
from runtime.images.tarwriter import Member, TreeWriter, end, header
from runtime.images.wanted import ImageWanted
from runtime.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from runtime.layout import Layout
from schemas.errors import Refused

WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class CommitWanted:
    """`name`: of the new image; `base`: what the container runs; `upper`: its writable directory; `mounted`: paths,
    without a leading slash, where it has something mounted; `config`: of the new image's processes; the rest is
    written down in the image's history. `created` in seconds since the epoch; None: now."""

    name: str
    container: str
    base: ImageRecord
    upper: Path
    config: ImageConfig
    mounted: frozenset[bytes] = frozenset()
    author: str = ""
    message: str = ""
    created: float | None = None
    tags: tuple[str, ...] = ()
    wish: str = ""
    """Digest of what a manifest asks for, which the record keeps; empty for a commit by hand."""


def commit(layout: Layout, wanted: CommitWanted, *, progress: Report = ignore) -> ImageRecord:
    """The record of the new image, which is unpacked and usable. Raises Refused, RetryLater."""
    with Lease(layout) as lease:
        asked = ImageWanted(
            wanted.name, container=wanted.container, config=wanted.config, platform=wanted.base.platform
        )
        making = Making(layout, lease, asked, progress, Limits())
        base = _base(making, wanted.base)
        changes = read_changes(wanted.upper, layer_directories(layout, wanted.base), wanted.mounted)
        found = _add(making, wanted, base, changes)
        record = record_of(making, found, "")
        record = replace(record, wanted=wanted.wish or record.wanted)
        write_image(layout, record)
        return record


def _base(making: Making, base: ImageRecord) -> Found:
    try:
        return read_found(making.store, base.digest)
    except FileNotFoundError as error:
        raise Refused(
            f"the image {base.name}, which the container runs, is damaged: {error.filename} is missing",
            step="commit",
            hint="`trimtab apply` makes it whole again",
        ) from error


def _add(making: Making, wanted: CommitWanted, base: Found, changes: Sequence[Change]) -> Found:
    store = making.store
    stepped = making.stepped(Step.READ)
    blobs = tuple(layer.digest for layer in base.manifest.layers)
    diff_ids = base.document.diff_ids
    if changes:
        with store.write() as writer:
            sink = Sink(writer, lambda done: stepped(wanted.name, done, 0))
            write_changes(wanted.upper, changes, sink.write)
            layer = sink.commit()
        blobs, diff_ids = (*blobs, layer), (*diff_ids, layer)
    created = datetime.fromtimestamp(time.time() if wanted.created is None else wanted.created, UTC)
    line: dict[str, object] = {"created": created.isoformat().replace("+00:00", "Z"), "created_by": "trimtab commit"}
    line |= {name: text for name, text in (("author", wanted.author), ("comment", wanted.message)) if text}
    if not changes:
        line["empty_layer"] = True
    document = ImageDocument(
        config=wanted.config,
        platform=base.document.platform,
        diff_ids=diff_ids,
        created=str(line["created"]),
        history=(*base.document.history, line),
    )
    return add_image(store, document, blobs, wanted.tags)


def write_changes(
    upper: Path, changes: Sequence[Change], sink: Callable[[bytes], None], newest: int | None = None
) -> None:
    """The layer's tar, in it no time later than `newest`, in seconds since the epoch.

    Raises Refused, RetryLater (a file changed meanwhile), OSError.
    """
    top = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        writer = TreeWriter(sink, os.fstat(top).st_dev, newest)
        for change in changes:
            if not change.is_hidden:
                _write(writer, sink, top, change)
        sink(end())
    finally:
        os.close(top)


def _write(writer: TreeWriter, sink: Callable[[bytes], None], top: int, change: Change) -> None:
    above, _, name = change.path.rpartition(b"/")
    if change.kind is Kind.DELETED:
        sink(header(_empty(above, WHITEOUT + name)))
        return
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
    fd = openat2(top, os.fsdecode(above) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, resolve=resolve)
    try:
        writer.alone(fd, name, change.path)
    finally:
        os.close(fd)
    if change.is_opaque:
        sink(header(_empty(change.path, OPAQUE)))


def _empty(above: bytes, name: bytes) -> Member:
    return Member(above + b"/" + name if above else name, b"0", mode=0o600)
