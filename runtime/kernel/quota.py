"""Project quotas: a limit on the bytes below one directory, kept by the file system itself (ext4, xfs).

Called by the volumes room for `size`. A directory is given a project id that new files below inherit, and the id a
limit. Which id is free is the caller's to know. Sources: quotactl(2), quotactl_fd(2), ioctl_xfs_fsgetxattr(2),
FS_IOC_FSSETXATTR in include/uapi/linux/fs.h, ext4(5) "prjquota".
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.kernel import libc

FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
FSXATTR = struct.Struct("=IIIII8x")
"""`struct fsxattr`: flags, extent size, extents, project id, copy-on-write extent size."""
XFLAG_PROJINHERIT = 0x200

Q_GETFMT, Q_GETQUOTA, Q_SETQUOTA = 0x800004, 0x800007, 0x800008
PROJECT_QUOTA = 2
BLOCK_LIMITS, INODE_LIMITS = 1, 4
DQBLK = struct.Struct("=8QI4x")
"""`struct if_dqblk`: block hard, soft, bytes used, inode hard, soft, used, two times, which of them are valid."""
BLOCK = 1024
QUOTACTL_FD = 443

_quotactl_fd = libc.system_call(QUOTACTL_FD, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p)


class CannotLimit(OSError):
    """This file system has no project quotas switched on; the text says why and what helps."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one project: the limit (0 is none) and what is used, in bytes."""

    project: int
    limit: int
    used: int


def can_limit(path: Path | str) -> str | None:
    """None where a directory here can be limited, else the reason with its remedy. Changes nothing."""
    with _open(path) as fd:
        try:
            _project(fd)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            return f"the file system of {path} knows no project ids: use ext4 or xfs"
        try:
            _quota(fd, 0)
        except OSError as error:
            return _reason(error, path)
    return None


def _reason(error: OSError, path: Path | str) -> str:
    match error.errno:
        case errno.ESRCH | errno.EINVAL:
            return (
                f"project quotas are not switched on for the file system of {path}: mount it with prjquota"
                " (ext4 also needs `tune2fs -O project,quota -Q prjquota`)"
            )
        case errno.ENOSYS | errno.EOPNOTSUPP:
            return "this kernel has no project quotas (CONFIG_QUOTA, CONFIG_XFS_QUOTA)"
        case errno.EPERM | errno.EACCES:
            return "reading quotas needs CAP_SYS_ADMIN"
    raise error


def set_limit(path: Path | str, project_id: int, size: int) -> None:
    """Let no more than `size` bytes (0: no limit; whole KiB, rounded up) stand below the directory.

    What is in it already keeps its project, so a directory is limited while it is empty. Processes with
    CAP_SYS_RESOURCE in the host's user namespace are not held by quotas. Raises CannotLimit.
    """
    _check_possible(path)
    with _open(path) as fd:
        _set_project(fd, project_id)
        blocks = -(-size // BLOCK)
        request = DQBLK.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, BLOCK_LIMITS)
        _quotactl(fd, Q_SETQUOTA, project_id, ctypes.create_string_buffer(request, DQBLK.size))


def read_limit(path: Path | str) -> Limit | None:
    """The limit of the directory's project, None for a directory of none. Raises CannotLimit."""
    _check_possible(path)
    with _open(path) as fd:
        project = _project(fd)
        return _quota(fd, project) if project else None


def read_project(path: Path | str, project_id: int) -> Limit:
    """Limit and use of any project of the file system that holds the directory. Raises OSError."""
    with _open(path) as fd:
        return _quota(fd, project_id)


def count_tree(path: Path | str, project_id: int) -> None:
    """Count everything that stands in the directory already to the project, never through a symlink."""
    for _, _, files, directory in os.fwalk(path, follow_symlinks=False):
        _set_project(directory, project_id)
        for name in files:
            with suppress(FileNotFoundError):
                _count_file(name, directory, project_id)


def _count_file(name: str, directory: int, project_id: int) -> None:
    # only files and directories have a project; a fifo must not be opened for reading, nor a device at all
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        flags, extent_size, extents, _, cow_size = FSXATTR.unpack(
            fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(FSXATTR.size))
        )
        fcntl.ioctl(fd, FS_IOC_FSSETXATTR, FSXATTR.pack(flags, extent_size, extents, project_id, cow_size))
    finally:
        os.close(fd)


def remove_limit(path: Path | str) -> None:
    """Lift the limit of the directory's project. One without is no error."""
    found = read_limit(path)
    if found is not None:
        set_limit(path, found.project, 0)


def _check_possible(path: Path | str) -> None:
    reason = can_limit(path)
    if reason is not None:
        raise CannotLimit(errno.EOPNOTSUPP, reason, str(path))


@contextmanager
def _open(path: Path | str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _project(fd: int) -> int:
    """The directory's project id, 0 for none."""
    return int(FSXATTR.unpack(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(FSXATTR.size)))[3])


def _set_project(fd: int, project_id: int) -> None:
    flags, extent_size, extents, _, cow_size = FSXATTR.unpack(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(FSXATTR.size)))
    wanted = (flags | XFLAG_PROJINHERIT, extent_size, extents, project_id, cow_size)
    fcntl.ioctl(fd, FS_IOC_FSSETXATTR, FSXATTR.pack(*wanted))


def _quota(fd: int, project_id: int) -> Limit:
    buffer = ctypes.create_string_buffer(DQBLK.size)
    try:
        _quotactl(fd, Q_GETQUOTA, project_id, buffer)
    except OSError as error:
        # xfs: nothing is kept yet about a project that owns nothing
        if error.errno != errno.ENOENT:
            raise
    hard, _, used, *_ = DQBLK.unpack(buffer.raw)
    return Limit(project_id, hard * BLOCK, used)


def _quotactl(fd: int, command: int, project_id: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    _quotactl_fd(fd, (command << 8) | PROJECT_QUOTA, project_id, buffer)
