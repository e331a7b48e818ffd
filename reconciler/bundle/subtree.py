"""A directory of an image, as the layers that make it up: what overlay would show there, without mounting the whole.

Links are not followed: an image is hostile, and a link may lead anywhere. overlayfs.rst, whiteouts and opaque
directories.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def layers_below(layers: Sequence[Path], subpath: str) -> tuple[Path, ...]:
    """`layer/subpath` of each layer that has a part in it, highest first; none when there is no such directory."""
    parts = [part for part in subpath.split("/") if part not in ("", ".")]
    found: list[Path] = []
    for layer in layers:
        place, last = _walk(layer, parts)
        if place is not None:
            found.append(place)
        if last:
            break
    return tuple(found)


def _walk(layer: Path, parts: Sequence[str]) -> tuple[Path | None, bool]:
    """The directory in this layer, and whether lower layers are hidden behind what stands on the way to it."""
    place, opaque = layer, False
    for part in parts:
        place = place / part
        try:
            status = place.lstat()
        except FileNotFoundError:
            return None, opaque
        if not stat.S_ISDIR(status.st_mode):
            return None, True
        opaque = opaque or is_opaque(place)
    return place, opaque


def is_opaque(directory: Path | int) -> bool:
    """Whether nothing of lower layers shows in it."""
    for name in OPAQUE:
        with suppress(OSError):
            if os.getxattr(directory, name) == b"y":
                return True
    return False
