"""Trees that steps have made, opened for reading: an overlay of their layers that is mounted nowhere.

Called by the solver. Changes nothing in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.images.layers import LayerRecord, layer_tree
from runtime.images.making import Making
from runtime.images.mend import add_mending_layer
from runtime.layout import Layout
from runtime.process.failure import ProcessFailed
from runtime.process.overlay import overlay_image
from schemas.errors import Refused, RetryLater

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def tree_directories(making: Making, layers: Sequence[str]) -> tuple[Path, ...]:
    """What overlay joins, highest first, for diffIDs lowest first; all unpacked. Raises Refused, RetryLater."""
    records: tuple[LayerRecord, ...] = making.ensure_layers([making.layer(layer, layer) for layer in layers])
    mended = add_mending_layer(making.layout, making.store, records)
    if mended:
        making.ensure_layers([making.layer(mended, mended)])
    upward = (*layers, *((mended,) if mended else ()))
    return tuple(layer_tree(making.layout, layer) for layer in dict.fromkeys(reversed(upward)))


def empty_tree(layout: Layout) -> Path:
    """The tree of a stage that begins with nothing."""
    path = layout.root / "build" / "empty"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def opened(directories: Sequence[Path], empty: Path) -> Iterator[int]:
    """The top of the joined tree; `empty` is a directory to open where there is none. Raises RetryLater."""
    if len(directories) <= 1:
        top = os.open(directories[0] if directories else empty, _DIRECTORY)
        try:
            yield top
        finally:
            os.close(top)
        return
    try:
        mounted = overlay_image([str(path) for path in directories], None)
    except ProcessFailed as error:
        raise RetryLater(error.message, step=error.step, path=error.path, errno=error.errno) from error
    try:
        top = os.open(".", _DIRECTORY, dir_fd=mounted)
        try:
            yield top
        finally:
            os.close(top)
    finally:
        os.close(mounted)


def find_file(directories: Sequence[Path], path: str) -> Path:
    """The file of the highest layer that has it. Raises Refused for a link, or what is not there."""
    for directory in directories:
        place = directory
        for part in path.split("/"):
            place = place / part
            if place.is_symlink():
                raise Refused("is reached through a link", path=path, step="mount", hint="name what it leads to")
        if place.is_file():
            return place
    raise Refused("is not there", path=path, step="mount")
