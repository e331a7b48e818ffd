"""A volume's mount: make it, compare it with how it was made, put it right, take it off.

Effects only; which of them is due the volume decides. Made in the caller's mount namespace, where the launcher finds
it. Contents that unmounting would destroy (a tmpfs that holds files) are never unmounted here for a repair.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from runtime.kernel import mount
from runtime.kernel.mountinfo import Mount, read_mountinfo, top_mount
from runtime.volumes import remote
from runtime.volumes.options import ATTRIBUTES, MEMORY, REMOTE, MountWanted
from runtime.volumes.records import MadeMount
from schemas.errors import Refused, RetryLater

ALL_ATTRIBUTES = (
    mount.MOUNT_ATTR_RDONLY
    | mount.MOUNT_ATTR_NOSUID
    | mount.MOUNT_ATTR_NODEV
    | mount.MOUNT_ATTR_NOEXEC
    | mount.MOUNT_ATTR_NODIRATIME
    | mount.MOUNT_ATTR_NOSYMFOLLOW
    | mount.MOUNT_ATTR__ATIME
)
PASSING = frozenset(
    {errno.ETIMEDOUT, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
    | {errno.ECONNRESET, errno.EAGAIN, errno.ENOMEM}
)
"""Errors of a server or a moment, not of what was asked."""
HINTS = {
    errno.ENODEV: "this kernel has no such file system; load its module or install it",
    errno.ENOENT: "the device or directory does not exist; make it or mend `device`",
    errno.ENOTDIR: "a volume is a directory; mend `device`",
    errno.ENOTBLK: "`device` must be a block device",
    errno.EINVAL: "an option or the device's content is not what this file system takes; mend `o`, `type` or `device`",
    errno.EPERM: "the kernel does not allow it; see whether an administrator or a container limits the engine",
    errno.EACCES: "permission denied; see the server's exports or the device's permissions",
    errno.EBUSY: "it is in use elsewhere",
    errno.EPROTONOSUPPORT: "the server does not speak this version; write vers= in `o`",
    errno.ECONNREFUSED: "see whether the server runs, and `addr` and `device`",
    errno.ETIMEDOUT: "see whether the server runs and is reached from here",
    errno.EHOSTUNREACH: "see whether the server runs and is reached from here",
}


def make(wanted: MountWanted, target: Path, volume: str) -> None:
    """Mount on `target`. Raises Refused, or RetryLater where a server or a moment is to blame."""
    try:
        if wanted.fstype in REMOTE:
            remote.mount(replace(wanted, options=_with_numeric_server(wanted.options)), target)
        else:
            attach(wanted, target)
    except OSError as error:
        raise _told(error, wanted, volume) from error


def attach(wanted: MountWanted, target: Path) -> None:
    """Mount on `target`, whatever it takes. Raises OSError."""
    tree = _bound(wanted) if wanted.bind else _new(wanted)
    try:
        directory = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount.move_mount(tree, directory)
        finally:
            os.close(directory)
    finally:
        os.close(tree)


def _bound(wanted: MountWanted) -> int:
    flags = mount.OPEN_TREE_CLONE | (mount.AT_RECURSIVE if wanted.recursive else 0)
    if not Path(wanted.source).is_dir() and Path(wanted.source).exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    tree = mount.open_tree(mount.AT_FDCWD, wanted.source, flags)
    _set_attributes(tree, wanted)
    return tree


def _new(wanted: MountWanted) -> int:
    options = {"source": wanted.source, **wanted.options}
    tree = mount.new_mount(wanted.fstype, options, wanted.set)
    _set_attributes(tree, wanted)
    return tree


def _set_attributes(tree: int, wanted: MountWanted) -> None:
    if wanted.set or wanted.clear:
        mount.mount_setattr(tree, wanted.set, wanted.clear, recursive=wanted.recursive)
    if wanted.propagation:
        mount.mount_setattr(tree, propagation=wanted.propagation, recursive=wanted.recursive)


def _with_numeric_server(options: Mapping[str, str | None]) -> dict[str, str | None]:
    """`addr` by number, since the kernel asks no DNS."""
    server = options.get("addr")
    if not server:
        return dict(options)
    try:
        found = socket.getaddrinfo(server, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(errno.EHOSTUNREACH, f"{server} does not resolve: {error.strerror}") from error
    return {**options, "addr": str(found[0][4][0])}


def seen_at(target: Path, mounts: Sequence[Mount] | None = None) -> Mount | None:
    """The mount that is seen at `target`, None where nothing is mounted on it. What is mounted is not asked."""
    point = os.path.join(os.path.realpath(target.parent), target.name)  # noqa: PTH118 - of the parent's real path
    return top_mount(read_mountinfo() if mounts is None else mounts, point)


def difference(made: MadeMount | None, seen: Mount | None, wanted: MountWanted, target: Path) -> str | None:
    """How the mount disagrees with what is wanted and how it was made, in words; None where it does not."""
    if seen is None:
        return "not mounted"
    if made is None:
        return "mounted, but not by this engine"
    now = MadeMount.of(seen)
    if wanted.bind:
        if not _same_directory(wanted.source, target):
            return f"not {wanted.source} is mounted"
    elif (now.fstype, now.source, now.root) != (made.fstype, made.source, made.root):
        return f"{now.fstype} {now.source} is mounted instead of {made.fstype} {made.source}"
    if now.options != made.options:
        return f"mount options {made.options} → {now.options}"
    if not wanted.bind and now.super_options != made.super_options:
        return f"file system options {made.super_options} → {now.super_options}"
    return None


def _same_directory(one: str, other: Path) -> bool:
    try:
        return other.samefile(one)
    except OSError:
        return False


def restore_attributes(made: MadeMount, target: Path, *, recursive: bool) -> None:
    """Give a mount the attributes back it was made with."""
    attributes = 0
    for word in made.options.split(","):
        attributes |= ATTRIBUTES.get(word, (0, 0))[0]
    tree = mount.open_tree(mount.AT_FDCWD, str(target), 0)
    try:
        mount.mount_setattr(
            tree, attributes, ALL_ATTRIBUTES & ~attributes | mount.MOUNT_ATTR__ATIME, recursive=recursive
        )
    finally:
        os.close(tree)


def remount(wanted: MountWanted, target: Path, volume: str) -> None:
    """Change a file system's options in place. Raises Refused where it cannot."""
    data = ",".join(key if value is None else f"{key}={value}" for key, value in wanted.options.items())
    lasting = wanted.set & (mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC)
    try:
        mount.mount("", str(target), "", mount.MS_REMOUNT | lasting, data)
        tree = mount.open_tree(mount.AT_FDCWD, str(target), 0)
        try:
            clear = ALL_ATTRIBUTES & ~wanted.set | mount.MOUNT_ATTR__ATIME
            mount.mount_setattr(tree, wanted.set, clear)
        finally:
            os.close(tree)
    except OSError as error:
        raise _told(error, wanted, volume) from error


def holds_what_unmounting_destroys(seen: Mount, target: Path) -> bool:
    """Whether files would be lost with this mount: it lives in memory, is mounted nowhere else and is not empty."""
    if seen.fstype not in MEMORY:
        return False
    if any(other.device == seen.device and other.id != seen.id for other in read_mountinfo()):
        return False
    return next(target.iterdir(), None) is not None


def unmount(target: Path, seen: Mount) -> None:
    """Take `seen` off `target`; whoever holds it elsewhere keeps it. Nothing mounted is no error."""
    try:
        if seen.fstype in REMOTE:
            remote.unmount(target)
        else:
            mount.umount2(str(target), mount.MNT_DETACH)
    except OSError as error:
        # what is out of sight is off: its server may keep the last of it waiting
        gone = error.errno == errno.ETIMEDOUT and seen_at(target) != seen
        if error.errno not in (errno.EINVAL, errno.ENOENT) and not gone:
            raise


def _told(error: OSError, wanted: MountWanted, volume: str) -> Refused | RetryLater:
    kind = RetryLater if error.errno in PASSING else Refused
    what = wanted.source if wanted.bind else f"{wanted.fstype} {wanted.source}"
    return kind(
        f"{what}: {error.strerror}",
        object=f"Volume/{volume}",
        step="mount",
        errno=error.errno,
        hint=HINTS.get(error.errno or 0, ""),
    )
