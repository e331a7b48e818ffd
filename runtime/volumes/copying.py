"""Copies one directory of an image into a volume: a short-lived child of `populate`.

`python -m runtime.volumes.copying` reads a JSON request from standard input and writes a JSON outcome. A process of
its own, since it makes a mount namespace, in which the image's layers are joined read-only for as long as it lives.
The path is resolved inside the image: a symlink in it leads nowhere else. Everything a file has comes along: owner,
mode, times, extended attributes, hard links, holes, devices.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from runtime.kernel import mount, namespaces, prctl
from runtime.kernel.openat2 import open_inside

READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
SEND_BYTES = 1 << 30
MAX_DEPTH = 400
"""Directories within each other; two descriptors are open for each."""


@dataclass(slots=True)
class Copy:
    """One tree being copied. `links`: where a file with several names was first put, by device and inode."""

    root: int
    id_offset: int
    links: dict[tuple[int, int], str] = field(default_factory=dict)


@dataclass(slots=True)
class Level:
    """One directory under way: both sides open, its names still to come."""

    source: int
    target: int
    path: str
    names: Iterator[str]


def join_layers(layers: Sequence[str], empty: str, point: str) -> int:
    """A descriptor of the layers' merged root, read-only, in a mount namespace of our own; highest layer first."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mount.mount("", "/", flags=mount.MS_REC | mount.MS_PRIVATE)
    # An overlay without an upper directory needs two layers. Named by descriptor, for all must fit one page.
    lower = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in (*layers, empty)]
    data = "lowerdir=" + ":".join(f"/proc/self/fd/{descriptor}" for descriptor in lower)
    if len(data) >= os.sysconf("SC_PAGE_SIZE"):
        raise OSError(errno.E2BIG, "too many layers for one overlay")
    mount.mount("trimtab", point, "overlay", mount.MS_RDONLY | mount.MS_NODEV | mount.MS_NOSUID, data)
    return os.open(point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def copy_tree(source: int, target: int, id_offset: int) -> None:
    """Copy what is in the directory `source` into the directory `target`, and its own metadata at the end."""
    copy = Copy(target, id_offset)
    levels = [_level(os.dup(source), os.dup(target), "")]
    while levels:
        level = levels[-1]
        name = next(level.names, None)
        if name is None:
            _set_metadata_of_open(level.source, level.target, copy)
            os.close(level.source)
            os.close(level.target)
            levels.pop()
            continue
        status = os.stat(name, dir_fd=level.source, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            _copy_entry(name, status, level, copy)
            continue
        if len(levels) > MAX_DEPTH:
            raise OSError(errno.ELOOP, f"more than {MAX_DEPTH} directories within each other", level.path)
        os.mkdir(name, 0o700, dir_fd=level.target)
        levels.append(
            _level(
                os.open(name, DIRECTORY_FLAGS, dir_fd=level.source),
                os.open(name, DIRECTORY_FLAGS, dir_fd=level.target),
                f"{level.path}{name}/",
            )
        )


def _level(source: int, target: int, path: str) -> Level:
    return Level(source, target, path, iter(os.listdir(source)))


def _copy_entry(name: str, status: os.stat_result, level: Level, copy: Copy) -> None:
    """Copy what is not a directory."""
    identity = (status.st_dev, status.st_ino)
    if status.st_nlink > 1 and identity in copy.links:
        os.link(copy.links[identity], name, src_dir_fd=copy.root, dst_dir_fd=level.target, follow_symlinks=False)
        return
    if stat.S_ISREG(status.st_mode):
        _copy_file(name, status, level, copy)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=level.source), name, dir_fd=level.target)
        _set_metadata_by_name(name, status, level, copy)
    else:
        os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=level.target)
        _set_metadata_by_name(name, status, level, copy)
    if status.st_nlink > 1:
        copy.links[identity] = level.path + name


def _copy_file(name: str, status: os.stat_result, level: Level, copy: Copy) -> None:
    source = os.open(name, READ_FLAGS, dir_fd=level.source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = os.open(name, flags, 0o600, dir_fd=level.target)
        try:
            _copy_content(source, target, status.st_size)
            _set_metadata_of_open(source, target, copy)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_content(source: int, target: int, size: int) -> None:
    """Copy the data between the holes."""
    os.ftruncate(target, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # Nothing but a hole until the end.
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            sent = os.sendfile(target, source, start, min(end - start, SEND_BYTES))
            if not sent:
                return
            start += sent


def _set_metadata_of_open(source: int, target: int, copy: Copy) -> None:
    """Owner, mode, attributes, times: in this order, since a change of owner clears bits and file capabilities."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid + copy.id_offset, status.st_gid + copy.id_offset)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        _set_attribute(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _set_metadata_by_name(name: str, status: os.stat_result, level: Level, copy: Copy) -> None:
    """The same for what must not be opened: symlinks, devices, pipes, sockets."""
    os.chown(
        name,
        status.st_uid + copy.id_offset,
        status.st_gid + copy.id_offset,
        dir_fd=level.target,
        follow_symlinks=False,
    )
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=level.target)
    source, target = (f"/proc/self/fd/{each}/{name}" for each in (level.source, level.target))
    for attribute in os.listxattr(source, follow_symlinks=False):
        value = os.getxattr(source, attribute, follow_symlinks=False)
        _set_attribute(target, attribute, value, follow_symlinks=False)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=level.target, follow_symlinks=False)


def _set_attribute(target: int | str, name: str, value: bytes, *, follow_symlinks: bool = True) -> None:
    """A file system that has no extended attributes keeps the file without them, as `docker run` does."""
    try:
        os.setxattr(target, name, value, follow_symlinks=follow_symlinks)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise


def main() -> int:
    """Do one request: 0 with `{"found": bool}`, 1 with `{"errno", "message", "path"}`."""
    prctl.prctl(prctl.PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.load(sys.stdin)
    try:
        root = join_layers(request["layers"], request["empty"], request["point"])
        found = _copy(root, request["path"], request["target"], request["id_offset"])
    except OSError as error:
        outcome = {"errno": error.errno, "message": error.strerror, "path": os.fsdecode(error.filename or "")}
        print(json.dumps(outcome))
        return 1
    print(json.dumps({"found": found}))
    return 0


def _copy(root: int, path: str, target: str, id_offset: int) -> bool:
    """Copy `path` of the image; False where the image has no such directory."""
    try:
        source = open_inside(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    copy_tree(source, os.open(target, DIRECTORY_FLAGS), id_offset)
    return True


if __name__ == "__main__":
    sys.exit(main())
