"""Which files of a tree a COPY, an ADD or a mount takes, under which names, and the digest of just those.

Pure: works on a listing that somebody made of a context or of a step's tree. The digest knows names, kinds, modes,
owners and contents, never times, so that a checkout made anew, or a file changed that nobody takes, is the same input.

Source: Dockerfile reference, "COPY": wildcards, `--parents`, `--exclude`; Go, package path/filepath, Match.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from schemas.dockerfile.ignore import Ignore
from schemas.dockerfile.ignore_pattern import compile_source, to_source
from schemas.nearest import nearest

TOP = "."
MOST_LINKS = 40
"""Symbolic links followed on the way to a source, as the kernel's."""
_WILD = re.compile(r"[*?\[\\]")
_MANY_STARS = re.compile(r"\*{2,}")


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree. `content` is a file's digest, a link's target, a device's numbers."""

    kind: Kind
    mode: int
    content: str = ""
    uid: int = 0
    gid: int = 0


class Listing:
    """A tree's entries by their paths, without leading slashes; `.` is its top."""

    __slots__ = ("entries", "names")

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = {TOP: Entry(Kind.DIRECTORY, 0o755), **entries}
        self.names = sorted(name for name in self.entries if name != TOP)

    def below(self, directory: str) -> Iterator[str]:
        """The paths below a directory, those above before those in them."""
        if directory == TOP:
            return iter(self.names)
        # "0" is what follows "/" in the order of names
        first, last = bisect_left(self.names, f"{directory}/"), bisect_left(self.names, f"{directory}0")
        return iter(self.names[first:last])

    def follow(self, path: str) -> str | None:
        """The path with every symbolic link on it followed inside the tree; None if it leads nowhere."""
        done, left, links = "", path.split("/"), 0
        while left:
            part = left.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = posixpath.dirname(done)
                continue
            done = posixpath.join(done, part)
            entry = self.entries.get(done)
            if entry is None:
                return None
            if entry.kind is not Kind.SYMLINK:
                continue
            links += 1
            if links > MOST_LINKS:
                return None
            done = "" if entry.content.startswith("/") else posixpath.dirname(done)
            left = [*entry.content.split("/"), *left]
        return done or TOP


@dataclass(frozen=True, slots=True)
class Taken:
    """What one source came to: a directory, whose `members` go into the destination; or a file, its own only member.

    A member is its name there and its path in the tree; `top` is the path of the directory or the file itself, whose
    mode and owner a destination gets that was not there before. A pattern that nothing matches takes nothing.
    """

    source: str
    top: str
    is_directory: bool
    members: tuple[tuple[str, str], ...]


class MissingSource(LookupError):
    """A source without wildcards is not in the tree."""

    def __init__(self, path: str, meant: str | None) -> None:
        super().__init__(f"{path} is not there" + (f"; did you mean {meant}?" if meant else ""))
        self.path = path
        self.meant = meant


def select(
    listing: Listing, paths: Sequence[str], exclude: Sequence[str] = (), *, parents: bool = False
) -> tuple[Taken, ...]:
    """What each path takes, in order. Raises MissingSource; ValueError for a pattern that is not whole."""
    ignore = Ignore(exclude) if exclude else None
    if parents:
        return tuple(_with_parents(listing, path, ignore) for path in paths)
    return tuple(taken for path in paths for taken in _matched(listing, path, ignore))


def digest(listing: Listing, selection: Sequence[Taken]) -> str:
    """`sha256:…` of what was selected: the same for the same files under the same names."""
    entries = listing.entries
    rows: list[object] = []
    for taken in selection:
        rows.append([taken.is_directory, len(taken.members)])
        for name, path in (("", taken.top), *taken.members):
            entry = entries[path]
            rows.append([name, entry.kind, entry.mode, entry.content, entry.uid, entry.gid])
    return f"sha256:{hashlib.sha256(json.dumps(rows).encode()).hexdigest()}"


def _matched(listing: Listing, path: str, ignore: Ignore | None) -> Iterator[Taken]:
    for name in _names(listing, path):
        found = listing.follow(name)
        if found is None:
            raise MissingSource(name, nearest(name, listing.names))
        if listing.entries[found].kind is Kind.DIRECTORY:
            members = _members(listing, found, ignore)
            yield Taken(name, found, True, tuple((_relative(member, found), member) for member in members))
        elif ignore is None or not ignore.matches(posixpath.basename(name)):
            yield Taken(name, found, False, ((posixpath.basename(name), found),))


def _names(listing: Listing, path: str) -> list[str]:
    """The path itself, or all that match it. `**` is `*` here."""
    if not _WILD.search(path) or path in listing.entries:
        return [path]
    matches = compile_source(to_source(_MANY_STARS.sub("*", path)))
    return [name for name in listing.names if matches(name)]


def _members(listing: Listing, directory: str, ignore: Ignore | None) -> Iterator[str]:
    if ignore is None:
        yield from listing.below(directory)
        return
    for path in listing.below(directory):
        if not ignore.matches(_relative(path, directory)):
            yield path


def _relative(path: str, directory: str) -> str:
    return path if directory == TOP else path[len(directory) + 1 :]


def _with_parents(listing: Listing, path: str, ignore: Ignore | None) -> Taken:
    """With `--parents`: all that matches, or is below what matches, under its path from the `/./` on."""
    before, pivot, after = path.partition("/./")
    pattern = posixpath.normpath("/" + (after if pivot else path)).lstrip("/") or TOP
    base = listing.follow(before if pivot else TOP)
    if base is None:
        raise MissingSource(before, nearest(before, listing.names))
    inside = [_relative(name, base) for name in listing.below(base)]
    if pattern == TOP:
        kept = set(inside)
    elif _WILD.search(pattern):
        above = compile_source(to_source(f"{pattern}/**"))
        matches = compile_source(to_source(pattern))
        kept = {name for name in inside if matches(name) or above(name)}
    else:
        kept = {name for name in inside if name == pattern or name.startswith(f"{pattern}/")}
        if not kept:
            raise MissingSource(pattern, nearest(pattern, inside))
    kept = {name for name in kept if ignore is None or not ignore.matches(name)}
    names = sorted(kept | {parent for name in kept for parent in _above(name)})
    return Taken(path, base, True, tuple((name, name if base == TOP else f"{base}/{name}") for name in names))


def _above(name: str) -> Iterator[str]:
    while "/" in name:
        name = posixpath.dirname(name)
        yield name
