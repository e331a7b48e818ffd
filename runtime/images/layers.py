"""Unpacked layers on disk: `layers/<diffID hex>/tree`, and beside it `layer.json`, written before the one rename.

Called by the unpacker, the image store and the collector. Knows what a whole layer looks like and notices, at the
cost of one stat(2), that one was removed, replaced or had its top edited by hand. Makes none.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.images.digests import split_digest
from runtime.layout import Layout

RECORD = "layer.json"
TREE = "tree"
PARTIAL = ".partial"
BROKEN = ".broken"


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One unpacked layer. Paths are below its top, which is "": see `mend` for what they are needed for."""

    diff_id: str
    bytes: int
    entries: int
    implied: tuple[str, ...]
    """Directories that it holds but says nothing about."""
    hiding: tuple[str, ...]
    """Directories in which it has whiteouts."""
    inode: int
    changed_ns: int
    """The top directory's change time: no tool can set it, so an edit of the top shows."""


def layer_path(layout: Layout, diff_id: str) -> Path:
    """The layer's place: its record and its tree. Raises Refused for what is no digest."""
    algorithm, encoded = split_digest(diff_id)
    return layout.layers / (encoded if algorithm == "sha256" else f"{algorithm}-{encoded}")


def layer_tree(layout: Layout, diff_id: str) -> Path:
    """The directory that overlay takes as a lower layer."""
    return layer_path(layout, diff_id) / TREE


def read_layer(layout: Layout, diff_id: str) -> LayerRecord | None:
    """What was recorded when the layer was made, or None when there is no whole layer."""
    try:
        fields = json.loads((layer_path(layout, diff_id) / RECORD).read_bytes())
        return LayerRecord(**{**fields, "implied": tuple(fields["implied"]), "hiding": tuple(fields["hiding"])})
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def layer_damage(layout: Layout, diff_id: str) -> str | None:
    """What is wrong with the layer, in words; None when it is as it was made. Does not read the tree."""
    record = read_layer(layout, diff_id)
    path = layer_path(layout, diff_id)
    if record is None:
        return f"layer {path} is missing" if not path.is_dir() else f"layer {path} has no sound record"
    try:
        found = (path / TREE).stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return f"layer {path / TREE} is missing"
    if found.st_ino != record.inode:
        return f"layer {path / TREE} is another directory than the one unpacked"
    if found.st_ctime_ns != record.changed_ns:
        return f"layer {path / TREE} was changed by hand"
    return None


def write_record(place: Path, diff_id: str, made: dict[str, object]) -> LayerRecord:
    """Complete the layer in `place`, whose tree is final. Durable only after the caller's sync."""
    found = (place / TREE).stat()
    record = LayerRecord(
        diff_id=diff_id,
        bytes=int(str(made["bytes"])),
        entries=int(str(made["entries"])),
        implied=_paths(made["implied"]),
        hiding=_paths(made["hiding"]),
        inode=found.st_ino,
        changed_ns=found.st_ctime_ns,
    )
    (place / RECORD).write_text(json.dumps(asdict(record)))
    return record


def _paths(said: object) -> tuple[str, ...]:
    return tuple(map(str, said)) if isinstance(said, list) else ()


def list_layers(layout: Layout) -> tuple[str, ...]:
    """Digests of every layer directory, whole or damaged; no partials."""
    found: list[str] = []
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(layout.layers)):  # noqa: PTH208 (names, not paths)
            digest = name.replace("-", ":", 1) if "-" in name else f"sha256:{name}"
            with suppress(Exception):
                split_digest(digest)
                found.append(digest)
    return tuple(found)
