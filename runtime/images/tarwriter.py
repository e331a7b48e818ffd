"""Writes a tree as a tar archive, always the same bytes for the same tree: the layer of a root file system.

Called by `rootfs` and by whoever needs a small archive (saving images). Names are sorted, times are whole seconds,
owners are numbers, hard links lead to the first of their names. Sockets are left out, and what is mounted inside.
Reads through descriptors and follows no links.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from schemas.errors import Refused, RetryLater

BLOCK = 512
_RECORD = 20 * BLOCK
"""What tar(1) pads an archive to."""
_PIECE = 1 << 20
_DEPTH = 256
_KEPT_XATTRS = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_OCTAL = 0o7777777


@dataclass(frozen=True, slots=True)
class Member:
    """The header of one archive member. `size` in bytes, `mtime` in seconds; `link` a link's target."""

    path: bytes
    kind: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


def header(member: Member) -> bytes:
    """The member's header blocks: ustar, after a pax header for whatever ustar cannot say."""
    records = [(b"SCHILY.xattr." + name, value) for name, value in member.xattrs]
    prefix, name = _split(member.path)
    if len(name) > 100:
        records.append((b"path", member.path))
        prefix, name = b"", name[:100]
    if len(member.link) > 100:
        records.append((b"linkpath", member.link))
    for key, value in ((b"uid", member.uid), (b"gid", member.gid)):
        if value > _MAX_OCTAL:
            records.append((key, b"%d" % value))
    if member.size >= 1 << 33:
        records.append((b"size", b"%d" % member.size))
    if not 0 <= member.mtime < 1 << 33:
        records.append((b"mtime", b"%d" % member.mtime))
    block = _block(member, prefix, name)
    if not records:
        return block
    content = b"".join(_record(key, value) for key, value in sorted(records))
    pax = _block(Member(b"", b"x", size=len(content)), b"", b"pax/" + name[-90:])
    return pax + content + bytes(-len(content) % BLOCK) + block


def end() -> bytes:
    """Two blocks of zeros; archives of ours are not padded further."""
    return bytes(2 * BLOCK)


def write_tree(root: str | os.PathLike[str], sink: Callable[[bytes], None]) -> None:
    """The directory `root` and all in it. Raises Refused, RetryLater (it changed meanwhile), OSError."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        write_opened_tree(fd, sink)
    finally:
        os.close(fd)


def write_opened_tree(fd: int, sink: Callable[[bytes], object]) -> None:
    """As `write_tree`, of a directory that is open: one that is mounted nowhere has no name."""
    found = os.fstat(fd)
    TreeWriter(sink, found.st_dev).directory(fd, b"./", found, 0)
    sink(end())


class TreeWriter:
    """The state of one walk: which files were met, to write their further names as links.

    `newest`: no time is written that is later, in seconds since the epoch.
    """

    def __init__(self, sink: Callable[[bytes], object], device: int, newest: int | None = None) -> None:
        self._sink = sink
        self._device = device
        self._newest = newest
        self._linked: dict[int, bytes] = {}

    def directory(self, fd: int, path: bytes, found: os.stat_result, depth: int) -> None:
        if depth > _DEPTH:
            raise Refused(f"directories are nested deeper than {_DEPTH}", path=os.fsdecode(path), step="read")
        self._sink(self._header(member_of(path, b"5", found, xattrs_of(fd))))
        if found.st_dev != self._device:
            return  # something is mounted here: its content belongs to another file system
        for name in sorted(os.fsencode(name) for name in os.listdir(fd)):
            self._one(fd, name, path[2:] + name if path == b"./" else path + name, depth)

    def _one(self, above: int, name: bytes, path: bytes, depth: int) -> None:
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            fd = os.open(name, _OPEN_DIRECTORY, dir_fd=above)
            try:
                self.directory(fd, path + b"/", os.fstat(fd), depth + 1)
            finally:
                os.close(fd)
        else:
            self._leaf(above, name, path, found)

    def alone(self, above: int, name: bytes, path: bytes) -> None:
        """The entry `name` of the directory `above` as `path`, of a directory nothing that is in it."""
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            fd = os.open(name, _OPEN_DIRECTORY, dir_fd=above)
            try:
                self._sink(self._header(member_of(path + b"/", b"5", os.fstat(fd), xattrs_of(fd))))
            finally:
                os.close(fd)
        else:
            self._leaf(above, name, path, found)

    def _leaf(self, above: int, name: bytes, path: bytes, found: os.stat_result) -> None:
        if stat.S_ISSOCK(found.st_mode):
            return
        if found.st_nlink > 1 and found.st_ino in self._linked:
            self._sink(self._header(member_of(path, b"1", found, link=self._linked[found.st_ino])))
        else:
            if found.st_nlink > 1:
                self._linked[found.st_ino] = path
            self._first(above, name, path, found)

    def _first(self, above: int, name: bytes, path: bytes, found: os.stat_result) -> None:
        mode = found.st_mode
        if stat.S_ISREG(mode):
            self._file(above, name, path)
        elif stat.S_ISLNK(mode):
            self._sink(self._header(member_of(path, b"2", found, link=os.readlink(name, dir_fd=above))))
        else:
            kind = b"3" if stat.S_ISCHR(mode) else b"4" if stat.S_ISBLK(mode) else b"6"
            self._sink(self._header(member_of(path, kind, found)))

    def _file(self, above: int, name: bytes, path: bytes) -> None:
        fd = os.open(name, _OPEN_FILE, dir_fd=above)
        try:
            found = os.fstat(fd)
            self._sink(self._header(member_of(path, b"0", found, xattrs_of(fd))))
            left = found.st_size
            while left and (piece := os.read(fd, min(left, _PIECE))):
                self._sink(piece)
                left -= len(piece)
            if left:
                raise RetryLater("a file became shorter while it was read", path=os.fsdecode(path), step="read")
            self._sink(bytes(-found.st_size % BLOCK))
        finally:
            os.close(fd)

    def _header(self, member: Member) -> bytes:
        if self._newest is not None and member.mtime > self._newest:
            member = replace(member, mtime=self._newest)
        return header(member)


def member_of(
    path: bytes, kind: bytes, found: os.stat_result, xattrs: tuple[tuple[bytes, bytes], ...] = (), link: bytes = b""
) -> Member:
    """A tar's entry for a file as it stands."""
    device = (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in b"34" else (0, 0)
    return Member(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size if kind == b"0" else 0,
        mtime=found.st_mtime_ns // 1_000_000_000,
        link=link,
        device=device,
        xattrs=xattrs,
    )


def xattrs_of(fd: int) -> tuple[tuple[bytes, bytes], ...]:
    """Those that belong into a layer, in order; none of overlay's own."""
    names: list[str] = []
    with suppress(OSError):  # a file system without any
        names = os.listxattr(fd)
    kept = [name for name in names if name in _KEPT_XATTRS or name.startswith("user.")]
    return tuple((os.fsencode(name), os.getxattr(fd, name)) for name in sorted(kept))


def _split(path: bytes) -> tuple[bytes, bytes]:
    """ustar's prefix and name; the name is longer than 100 bytes where the path does not fit."""
    if len(path) <= 100:
        return b"", path
    cut = path.rfind(b"/", 0, 156)
    if cut <= 0 or not 0 < len(path) - cut - 1 <= 100:
        return b"", path
    return path[:cut], path[cut + 1 :]


def _block(member: Member, prefix: bytes, name: bytes) -> bytes:
    fields = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % member.mode,
            b"%07o\0" % min(member.uid, _MAX_OCTAL),
            b"%07o\0" % min(member.gid, _MAX_OCTAL),
            b"%011o\0" % (member.size if member.size < 1 << 33 else 0),
            b"%011o\0" % (member.mtime if 0 <= member.mtime < 1 << 33 else 0),
            b" " * 8,
            member.kind,
            member.link[:100].ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0" % member.device[0],
            b"%07o\0" % member.device[1],
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
