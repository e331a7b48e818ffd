"""Mounts: mount(2), umount2(2), pivot_root(2) and the descriptor-based calls of Linux 5.2 and later.

One thin function per call, with its man-page name. Every descriptor made here is close-on-exec.
"""

from __future__ import annotations

import ctypes
import errno
import os

from runtime.kernel import libc

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

MNT_DETACH = 2

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000


class MountAttr(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


_mount = libc.function("mount", ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = libc.function("umount2", ctypes.c_char_p, ctypes.c_int)
_pivot_root = libc.system_call("pivot_root", ctypes.c_char_p, ctypes.c_char_p)
_open_tree = libc.system_call(428, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_move_mount = libc.system_call(429, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_fsopen = libc.system_call(430, ctypes.c_char_p, ctypes.c_uint)
_fsconfig = libc.system_call(431, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
_fsmount = libc.system_call(432, ctypes.c_int, ctypes.c_uint, ctypes.c_uint)
_mount_setattr = libc.system_call(
    442, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.POINTER(MountAttr), ctypes.c_size_t
)


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    _mount(os.fsencode(source), os.fsencode(target), fstype.encode() or None, flags, os.fsencode(data) or None)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _umount2(os.fsencode(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _pivot_root(os.fsencode(new_root), os.fsencode(put_old))


def open_tree(directory: int, path: str, flags: int = OPEN_TREE_CLONE) -> int:
    """open_tree(2): a descriptor of the mount at `path`, a detached copy of it by default."""
    return _open_tree(directory, os.fsencode(path), flags | OPEN_TREE_CLOEXEC)


def move_mount(tree: int, directory: int, path: str = "") -> None:
    """move_mount(2): attach the mount behind `tree` on `path` below `directory`, or on `directory` itself."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if path else MOVE_MOUNT_T_EMPTY_PATH)
    _move_mount(tree, b"", directory, os.fsencode(path), flags)


def mount_setattr(
    tree: int,
    set_attributes: int = 0,
    clear: int = 0,
    *,
    propagation: int = 0,
    user_namespace: int = 0,
    recursive: bool = False,
    path: str = "",
) -> None:
    """mount_setattr(2) on the mount behind `tree`; `user_namespace` is a descriptor, used with MOUNT_ATTR_IDMAP."""
    attributes = MountAttr(set_attributes, clear, propagation, user_namespace)
    flags = (0 if path else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    _mount_setattr(tree, os.fsencode(path), flags, ctypes.byref(attributes), ctypes.sizeof(attributes))


def fsopen(fstype: str) -> int:
    """fsopen(2): a descriptor in which a new superblock is configured."""
    return _fsopen(fstype.encode(), FSOPEN_CLOEXEC)


def fsconfig_string(context: int, key: str, value: str) -> None:
    """fsconfig(2) FSCONFIG_SET_STRING; the kernel takes at most 255 bytes."""
    with _told_by(context):
        _fsconfig(context, FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)


def fsconfig_flag(context: int, key: str) -> None:
    """fsconfig(2) FSCONFIG_SET_FLAG."""
    with _told_by(context):
        _fsconfig(context, FSCONFIG_SET_FLAG, key.encode(), None, 0)


def fsmount(context: int, attributes: int = 0) -> int:
    """fsconfig(2) FSCONFIG_CMD_CREATE, then fsmount(2): a descriptor of the new, detached mount."""
    with _told_by(context):
        _fsconfig(context, FSCONFIG_CMD_CREATE, None, None, 0)
        return _fsmount(context, FSMOUNT_CLOEXEC, attributes)


class _told_by:  # noqa: N801 - reads as a clause
    """Adds what the kernel wrote to the context's message log to an error of fsconfig(2)."""

    __slots__ = ("context",)

    def __init__(self, context: int) -> None:
        self.context = context

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        told = message_log(self.context)
        if told:
            raise OSError(error.errno, f"{error.strerror}: {told}") from None


def message_log(context: int) -> str:
    """What the kernel said about a file system context (fsopen(2)), one sentence per line read."""
    lines = []
    while True:
        try:
            line = os.read(context, 1024)
        except OSError as error:
            if error.errno in {errno.ENODATA, errno.EAGAIN, errno.EINVAL}:
                break
            raise
        lines.append(line.decode(errors="replace")[2:].strip())
    return "; ".join(lines)


def new_mount(fstype: str, options: dict[str, str | None], attributes: int = 0) -> int:
    """A descriptor of a new, detached mount of `fstype`; an option whose value is None is a flag."""
    context = fsopen(fstype)
    try:
        for key, value in options.items():
            if value is None:
                fsconfig_flag(context, key)
            else:
                fsconfig_string(context, key, value)
        return fsmount(context, attributes)
    finally:
        os.close(context)
