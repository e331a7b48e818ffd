"""A directory or file inside a volume, found without ever leaving it.

Called when a container mounts a part of a volume. Containers write to volumes, so every component may be a symlink
set to lead elsewhere: the kernel resolves the path beneath the volume (openat2(2), RESOLVE_BENEATH) or not at all.
"""

from __future__ import annotations

import errno
import os

from runtime.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2
from runtime.layout import Layout
from runtime.volumes.volume import volume_path
from schemas.errors import Refused


def open_subpath(layout: Layout, name: str, subpath: str) -> int:
    """An O_PATH descriptor of `subpath`, which no later change of the volume can redirect. Raises Refused."""
    data = volume_path(layout, name)
    try:
        root = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _refused(name, subpath, "the volume does not exist", error.errno) from error
    try:
        return openat2(root, subpath.strip("/") or ".", os.O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        reasons = {
            errno.EXDEV: "leads out of the volume",
            errno.ELOOP: "runs in circles or through /proc",
            errno.ENOENT: "does not exist in the volume",
            errno.ENOTDIR: "has a file where a directory should be",
        }
        reason = reasons.get(error.errno or 0, error.strerror or "cannot be opened")
        raise _refused(name, subpath, reason, error.errno) from error
    finally:
        os.close(root)


def _refused(name: str, subpath: str, reason: str, number: int | None) -> Refused:
    hint = "make it in the volume first" if number == errno.ENOENT else ""
    return Refused(f"{subpath!r} {reason}", object=f"Volume/{name}", step="find the sub-path", errno=number, hint=hint)
