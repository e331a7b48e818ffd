"""Archives that ADD unpacks: told by their content, put into the layer member by member.

Names are made relative to the destination and lead nowhere else; links keep their targets, which count from the
container's root. Called by the solver. A member that is no file, directory or link is refused.

Source: Dockerfile reference, "ADD": "Adding local tar archives".
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, BinaryIO

from reconciler.build.layer import Owner, Part, Plan, write_stream
from reconciler.build.modes import changed_mode
from reconciler.build.scan import HasFiles, open_below
from reconciler.build.select import Kind, Taken
from runtime.images.tarstream import compression_of
from runtime.images.tarwriter import Member
from schemas.errors import Refused

Opened = Callable[[], BinaryIO]
Spool = Callable[[], IO[bytes]]
LARGEST = 64 << 30
_PIECE = 1 << 20


def unpack(
    plan: Plan, tree: HasFiles, selection: Sequence[Taken], destination: str, spool: Spool, held: ExitStack
) -> None:
    """As ADD does: archives among the files are unpacked into the destination, all else is copied."""
    for taken in selection:
        path = taken.top
        opened: Opened = lambda path=path: os.fdopen(open_below(tree.top, path), "rb")  # type: ignore[misc] # noqa: E731
        if not taken.is_directory and tree.listing.entries[path].kind is Kind.FILE and is_archive(opened):
            add_archive(plan, opened, plan.place(destination)[0], spool, held)
        else:
            plan.copy(tree, [taken], destination)


def is_archive(opened: Opened) -> bool:
    """Whether it is a tar, plain or compressed."""
    with opened() as file:
        head = file.read(1 << 16)
    try:
        with decompressed(io.BytesIO(head), head) as plain:
            block = plain.read(512)
    except (OSError, EOFError, ValueError):
        return False
    if len(block) < 512:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def add_archive(plan: Plan, opened: Opened, where: str, spool: Spool, held: ExitStack) -> None:
    """Every member below `where`, a path without links. Raises Refused."""
    file = held.enter_context(spool())
    with opened() as source:
        head = source.read(512)
        source.seek(0)
        with decompressed(source, head) as plain:
            _spool(plain, file)
    file.seek(0)
    try:
        archive = held.enter_context(tarfile.open(fileobj=file, mode="r:", errors="surrogateescape"))  # noqa: SIM115
        for member in archive:
            _add(plan, archive, member, where)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Refused(f"the archive cannot be read: {error}", step="unpack") from error


def _spool(source: IO[bytes], file: IO[bytes]) -> None:
    size = 0
    while piece := source.read(_PIECE):
        size += len(piece)
        if size > LARGEST:
            raise Refused(f"the archive unpacks to more than {LARGEST} bytes", step="unpack")
        file.write(piece)


def decompressed(source: IO[bytes], head: bytes) -> IO[bytes]:
    """What a compressed stream holds; the stream itself if it is none."""
    if head.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(source)
    if head.startswith(b"\xfd7zXZ\0"):
        import lzma

        return lzma.LZMAFile(source)
    match compression_of(head[:512]):
        case "gzip":
            import gzip

            return gzip.GzipFile(fileobj=source)  # type: ignore[return-value]
        case "zstd":
            from backports import zstd

            return zstd.ZstdFile(source)  # type: ignore[return-value]
    return source


def _add(plan: Plan, archive: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> None:
    name = posixpath.normpath(f"/{member.name}").lstrip("/")
    if posixpath.basename(name).startswith(".wh."):
        raise Refused("begins as the marks of deleted files do, and cannot be in a layer", path=name, step="unpack")
    if not name:
        return
    target = plan.place(posixpath.join(where, posixpath.dirname(name)))[0]
    target = posixpath.join(target, posixpath.basename(name))
    if member.isdir() and plan.place(target)[1] == "directory":
        target = plan.place(target)[0]
    plan.resolved.clear()
    plan.put(target, _part(plan, archive, member, target, where))


def _part(plan: Plan, archive: tarfile.TarFile, member: tarfile.TarInfo, target: str, where: str) -> Part:
    who = plan.owner or Owner(member.uid, member.gid)
    seconds = plan.time(max(0, int(member.mtime)))
    path = os.fsencode(target)
    mode = changed_mode(member.mode & 0o7777, plan.chmod, member.isdir())
    if member.isdir():
        return Part(Member(path + b"/", b"5", mode, who.uid, who.gid, 0, seconds))
    if member.issym():
        return Part(Member(path, b"2", 0o777, who.uid, who.gid, 0, seconds, os.fsencode(member.linkname)))
    if member.islnk():
        # a hard link may come before its file once members are in order: its content is written again
        found = archive._find_link_target(member)  # type: ignore[attr-defined]
        return _file(plan, archive, found, path, who, mode, seconds)
    if member.isfile():
        return _file(plan, archive, member, path, who, mode, seconds)
    raise Refused("is neither file, directory nor link", path=member.name, step="unpack")


def _file(
    plan: Plan, archive: tarfile.TarFile, member: tarfile.TarInfo, path: bytes, who: Owner, mode: int, seconds: int
) -> Part:
    header = Member(path, b"0", mode, who.uid, who.gid, member.size, seconds)

    def opened() -> BinaryIO:
        file = archive.extractfile(member)
        if file is None:
            raise Refused("has no content", path=member.name, step="unpack")
        return file  # type: ignore[return-value]

    return Part(header, lambda sink: write_stream(header, opened, sink))


def pack(directory: Path, seconds: int, sink: Callable[[bytes], object]) -> None:
    """The directory as a tar, by names, everything of root and of that time: equal trees give equal bytes."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = seconds
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    class Out(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, piece: Any) -> int:
            sink(bytes(piece))
            return len(piece)

    with tarfile.open(fileobj=Out(), mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(directory.rglob("*")):
            archive.add(path, str(path.relative_to(directory)), recursive=False, filter=plain)
