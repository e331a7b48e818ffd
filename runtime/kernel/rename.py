"""renameat2(2): rename without replacing what is there."""

from __future__ import annotations

import ctypes
import os

from runtime.kernel import libc

AT_FDCWD = -100
RENAME_NOREPLACE = 1

_renameat2 = libc.function("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def renameat2(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    flags: int,
    *,
    old_directory: int = AT_FDCWD,
    new_directory: int = AT_FDCWD,
) -> None:
    """renameat2(2). Raises OSError: EEXIST with RENAME_NOREPLACE, EINVAL where the file system knows no flags (NFS)."""
    _renameat2(old_directory, os.fsencode(old), new_directory, os.fsencode(new), flags)
