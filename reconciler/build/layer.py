"""The layer of a COPY, an ADD or a WORKDIR, as a tar: what goes where, as whom, with which mode.

First all members are put together, later ones over earlier ones of the same path; then they are written in order of
their paths, so that equal input gives equal bytes. Looks at the tree that the step works on, to follow a link on the
way to the destination and never to lay a directory over a file; changes nothing in it.

Source: Dockerfile reference, "COPY", "ADD"; OCI image-spec 1.1, layer.md.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from reconciler.build.modes import changed_mode
from reconciler.build.scan import PIECE, HasFiles, open_below, require_same
from reconciler.build.select import MOST_LINKS, Entry, Kind, Taken
from runtime.images.tarwriter import BLOCK, Member, end, header, xattrs_of
from schemas.dockerfile.instructions import InlineFile
from schemas.errors import Refused, RetryLater

Sink = Callable[[bytes], None]
WHITEOUT = b".wh."


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int


@dataclass(slots=True)
class Part:
    """One path of the layer. `write` gives its content after the header; None: it has none."""

    member: Member
    write: Callable[[Sink], None] | None = None


@dataclass(slots=True)
class Plan:
    """A layer while it is put together. `tree`: an open directory, that of the step below; None: of a linked copy.

    `owner`: of all that is copied, None to leave owners as they are. `newest`: no time is later, in seconds since the
    epoch; None: times stay. `now`: the time of what is made for it.
    """

    tree: int | None
    owner: Owner | None = None
    chmod: str = ""
    newest: int | None = None
    now: int = 0
    parts: dict[bytes, Part] = field(default_factory=dict)
    resolved: dict[str, tuple[str, str]] = field(default_factory=dict)

    def time(self, seconds: int) -> int:
        return seconds if self.newest is None else min(seconds, self.newest)

    # where things go

    def place(self, path: str) -> tuple[str, str]:
        """Where a path leads in the tree, links followed, and what is there: directory, other, or nothing.

        A part of it that does not exist stays as it is written.
        """
        known = self.resolved.get(path)
        if known is None:
            known = self.resolved[path] = self._walk(path)
        return known

    def _walk(self, path: str) -> tuple[str, str]:
        done, left, links, kind = "", path.strip("/").split("/"), 0, "directory"
        while left:
            part = left.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done, kind = posixpath.dirname(done), "directory"
                continue
            here = posixpath.join(done, part)
            found, target = self._look(here)
            if target is None:
                done, kind = here, found
                continue
            links += 1
            if links > MOST_LINKS:
                raise Refused("leads in a loop of links", path=f"/{path}", step="copy")
            done = "" if target.startswith("/") else done
            left = [*target.split("/"), *left]
        return done, kind

    def _look(self, path: str) -> tuple[str, str | None]:
        """What is at a path without links: its kind, and where it leads if it is one."""
        part = self.parts.get(os.fsencode(path))
        if part is not None:
            kind = part.member.kind
            return ("directory" if kind == b"5" else "other"), os.fsdecode(part.member.link) if kind == b"2" else None
        if self.tree is None:
            return "nothing", None
        above, _, name = path.rpartition("/")
        try:
            fd = open_below(self.tree, above or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return "nothing", None
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                return "other", os.readlink(name, dir_fd=fd)
            return ("directory" if stat.S_ISDIR(found.st_mode) else "other"), None
        except FileNotFoundError:
            return "nothing", None
        finally:
            os.close(fd)

    # what is put there

    def make_parents(self, path: str) -> None:
        """Directories above a path that are nowhere yet. A linked copy leaves them to what is below it."""
        above = posixpath.dirname(path)
        if not above or self.tree is None or os.fsencode(above) in self.parts:
            return
        kind = self._look(above)[0]
        if kind == "other":
            raise Refused("is no directory, so nothing can be copied into it", path=f"/{above}", step="copy")
        if kind == "nothing":
            self.make_parents(above)
            self.directory(above)

    def directory(self, path: str, mode: int = 0o755, owner: Owner | None = None, time: int | None = None) -> None:
        who = self.owner or owner or Owner(0, 0)
        seconds = self.time(self.now if time is None else time)
        self.parts[os.fsencode(path)] = Part(Member(os.fsencode(path) + b"/", b"5", mode, who.uid, who.gid, 0, seconds))

    def put(self, path: str, part: Part) -> None:
        """Raises Refused where it would lay a directory over something else, or the reverse."""
        is_directory = part.member.kind == b"5"
        kind, link = self._look(path)
        if is_directory and (kind == "other" or link is not None):
            what = "a link" if link is not None else "a file"
            raise Refused(f"is {what}, and a directory would take its place", path=f"/{path}", step="copy")
        if not is_directory and kind == "directory":
            raise Refused("is a directory, and a file would take its place", path=f"/{path}", step="copy")
        self.make_parents(path)
        self.parts[os.fsencode(path)] = part

    # a selection

    def copy(self, tree: HasFiles, selection: Sequence[Taken], destination: str) -> None:
        """Files of a tree. A destination that ends in a slash, or is a directory already, is filled."""
        for taken in selection:
            where, kind = self.place(destination)
            if taken.is_directory:
                self._fill(tree, taken, where, kind)
                continue
            into = destination.endswith("/") or kind == "directory"
            name = taken.members[0][0]
            target = self.place(posixpath.join(where, name))[0] if into else where
            self._copy_one(tree, taken.members[0][1], target)

    def _fill(self, tree: HasFiles, taken: Taken, where: str, kind: str) -> None:
        if kind == "other":
            raise Refused("is no directory, so nothing can be copied into it", path=f"/{where}", step="copy")
        if kind == "nothing" and where and self.tree is not None:
            self._copy_one(tree, taken.top, where)
        for name, path in taken.members:
            self._copy_one(tree, path, posixpath.join(where, name))

    def _copy_one(self, tree: HasFiles, path: str, target: str) -> None:
        entry = tree.listing.entries[path]
        if posixpath.basename(target).startswith(os.fsdecode(WHITEOUT)):
            raise Refused("begins as the marks of deleted files do, and cannot be in a layer", path=path, step="copy")
        if entry.kind is Kind.OTHER and entry.content.startswith("p"):
            raise Refused("is a named pipe", path=path, step="copy", hint="leave it out by .dockerignore")
        if entry.kind is Kind.OTHER:
            raise Refused("is a device", path=path, step="copy", hint="leave it out by .dockerignore")
        self.put(target, self._part(tree, path, entry, target))

    def _part(self, tree: HasFiles, path: str, entry: Entry, target: str) -> Part:
        above, _, name = path.rpartition("/")
        fd = open_below(tree.top, above or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = os.stat(name or ".", dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(fd)
        who = self.owner or Owner(entry.uid, entry.gid)
        seconds = self.time(found.st_mtime_ns // 1_000_000_000)
        is_directory = entry.kind is Kind.DIRECTORY
        mode = entry.mode if entry.kind is Kind.SYMLINK else changed_mode(entry.mode, self.chmod, is_directory)
        encoded = os.fsencode(target)
        if is_directory:
            return Part(Member(encoded + b"/", b"5", mode, who.uid, who.gid, 0, seconds))
        if entry.kind is Kind.SYMLINK:
            return Part(Member(encoded, b"2", 0o777, who.uid, who.gid, 0, seconds, os.fsencode(entry.content)))
        member = Member(encoded, b"0", mode, who.uid, who.gid, found.st_size, seconds)
        return Part(member, lambda sink: _write_file(tree, path, member, sink))

    def write_inline(self, file: InlineFile, destination: str) -> None:
        """A file that is written in the Dockerfile."""
        where, kind = self.place(destination)
        into = destination.endswith("/") or kind == "directory"
        target = posixpath.join(where, file.name.lstrip("/")) if into else where
        self.put_bytes(target, file.content.encode(errors="surrogateescape"), 0o644)

    def put_bytes(self, target: str, content: bytes, mode: int) -> None:
        who = self.owner or Owner(0, 0)
        mode = changed_mode(mode, self.chmod, is_directory=False)
        seconds = self.time(self.now)
        member = Member(os.fsencode(target), b"0", mode, who.uid, who.gid, len(content), seconds)
        self.put(target, Part(member, lambda sink: _write_bytes(member, content, sink)))

    def put_stream(self, target: str, opened: Callable[[], BinaryIO], size: int, mode: int, seconds: int) -> None:
        """A file read when it is written; `opened` gives it at its beginning."""
        who = self.owner or Owner(0, 0)
        mode = changed_mode(mode, self.chmod, is_directory=False)
        member = Member(os.fsencode(target), b"0", mode, who.uid, who.gid, size, self.time(seconds))
        self.put(target, Part(member, lambda sink: write_stream(member, opened, sink)))

    def write(self, sink: Sink) -> None:
        """The tar. Raises RetryLater for a file that changed meanwhile."""
        for _, part in sorted(self.parts.items()):
            if part.write is None:
                sink(header(part.member))
            else:
                part.write(sink)
        sink(end())


def _write_file(tree: HasFiles, path: str, member: Member, sink: Sink) -> None:
    try:
        fd = open_below(tree.top, path)
    except OSError as error:
        raise RetryLater(error.strerror or str(error), path=path, step="copy", errno=error.errno) from error
    try:
        require_same(tree, path, fd)
        sink(header(_with_xattrs(member, fd)))
        left = member.size
        while left and (piece := os.read(fd, min(left, PIECE))):
            sink(piece)
            left -= len(piece)
        if left:
            raise RetryLater("became shorter while the image was built", path=path, step="copy")
        require_same(tree, path, fd)
        sink(bytes(-member.size % BLOCK))
    finally:
        os.close(fd)


def _with_xattrs(member: Member, fd: int) -> Member:
    xattrs = tuple((name, value) for name, value in xattrs_of(fd) if name == b"security.capability")
    if not xattrs:
        return member
    return Member(
        member.path, member.kind, member.mode, member.uid, member.gid, member.size, member.mtime, xattrs=xattrs
    )


def _write_bytes(member: Member, content: bytes, sink: Sink) -> None:
    sink(header(member))
    sink(content)
    sink(bytes(-len(content) % BLOCK))


def write_stream(member: Member, opened: Callable[[], BinaryIO], sink: Sink) -> None:
    sink(header(member))
    left = member.size
    with opened() as source:
        while left and (piece := source.read(min(left, PIECE))):
            sink(piece)
            left -= len(piece)
    if left:
        raise RetryLater("is shorter than it said", path=os.fsdecode(member.path), step="copy")
    sink(bytes(-member.size % BLOCK))


def members_of(parts: Mapping[bytes, Part]) -> Iterator[Member]:
    """In the order in which they are written."""
    for _, part in sorted(parts.items()):
        yield part.member
