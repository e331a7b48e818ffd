"""The files of one commit as `git ls-tree` lists them, and what of them is refused. Pure.

A tree is whatever somebody pushed: names that climb out, links that lead outside, more or larger files than a machine
should take. All of it is judged here, before a byte of it is read or written.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from schemas.errors import Refused

MOST_FILES = 20_000
MOST_BYTES = 256 << 20
"""Of all files together."""
MOST_LINKS = 40
LONGEST_LINK = 4096
FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its path, mode, object and size in bytes; of a submodule the commit."""

    path: str
    mode: str
    object: str
    size: int


def read_entries(listed: bytes) -> Iterator[Entry]:
    """From `ls-tree -r -z -l`. Raises Refused for a name that cannot be a path below the tree."""
    for line in filter(None, listed.split(b"\0")):
        head, _, name = line.partition(b"\t")
        mode, _, object, size = head.decode("ascii").split()
        path = name.decode(errors="surrogateescape")
        if not is_path(path):
            raise _refused(f"holds a file named {path!r}", "rename it")
        yield Entry(path, mode, object, int(size) if size != "-" else 0)


def is_path(path: str) -> bool:
    """Whether a path stays below where it counts from, and is no part of a repository."""
    parts = path.split("/")
    inside = all(part not in ("", ".", "..") and part.lower() != ".git" for part in parts)
    return inside and not any(ord(letter) < 32 or ord(letter) == 127 for letter in path)


def base_of(entries: Collection[Entry], path: str | None) -> str:
    """The directory that is used of the commit: `path`, or that of a file, since it may point at what is beside it.

    Raises Refused where there is no `path`.
    """
    if path is None or any(entry.path.startswith(f"{path}/") for entry in entries):
        return path or ""
    if any(entry.path == path for entry in entries):
        return posixpath.dirname(path)
    raise _refused(f"has no {path}", "mend the source's path")


def below(entries: Iterable[Entry], base: str) -> list[Entry]:
    return [entry for entry in entries if not base or entry.path.startswith(f"{base}/")]


def refuse_excess(entries: Collection[Entry]) -> None:
    """Raises Refused where there is more than a machine should take."""
    if len(entries) > MOST_FILES:
        raise _refused(f"has {len(entries)} files, more than {MOST_FILES}", "follow a part of it by path:")
    total = sum(entry.size for entry in entries)
    if total > MOST_BYTES:
        hint = "follow a part of it by path:, and keep large files out of it"
        raise _refused(f"holds {total >> 20} MiB, more than {MOST_BYTES >> 20}", hint)
    for entry in entries:
        if entry.mode == LINK and entry.size > LONGEST_LINK:
            raise _refused(f"holds a symbolic link of {entry.size} bytes, {entry.path}", "remove it")


def refuse_stray_links(entries: Iterable[Entry], targets: Mapping[str, str], base: str = "") -> None:
    """Raises Refused for a link that leads out of `base` or round in a circle. `targets`: of each link's path."""
    for entry in entries:
        if entry.mode != LINK:
            continue
        end = resolve(entry.path, targets)
        if end is None or (base and end != base and not end.startswith(f"{base}/")):
            target = targets[entry.path]
            raise _refused(f"holds a symbolic link that leads outside, {entry.path} -> {target}", "remove it")


def resolve(path: str, targets: Mapping[str, str]) -> str | None:
    """Where a path ends when every link on the way is followed; None where that is outside, or nowhere."""
    done: list[str] = []
    todo = path.split("/")
    links = 0
    while todo:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                return None
            done.pop()
            continue
        target = targets.get("/".join([*done, part]))
        if target is None:
            done.append(part)
            continue
        links += 1
        if target.startswith("/") or links > MOST_LINKS:
            return None
        todo = [*target.split("/"), *todo]
    return "/".join(done)


def _refused(message: str, hint: str) -> Refused:
    return Refused(f"the commit {message}", step="read the commit", hint=hint)
