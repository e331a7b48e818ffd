"""The build's contexts: directories on this machine, scanned once, each with a memory of its files' digests on disk.

A tar or a repository is a directory by the time it gets here. Called by the solver. Does not copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.build.scan import Scan, Signature, open_below, scan, with_digests
from reconciler.build.select import Kind, Listing, Taken, digest, select
from runtime.layout import Layout
from schemas.dockerfile.ignore import Ignore, read_ignore
from schemas.errors import Refused

SETTLED_NS = 20_000_000
"""A file changed so shortly before the scan could change again within the clock's tick, and would look the same."""
LARGEST_IGNORE = 1 << 20


@dataclass(slots=True)
class Context:
    """An open directory and its scan. `name` is as given to the build, empty for its own."""

    name: str
    path: Path
    scanned: Scan
    memory: Path
    scanned_at_ns: int
    known: dict[str, tuple[Signature, str]] = field(default_factory=dict)

    @property
    def top(self) -> int:
        return self.scanned.top

    @property
    def listing(self) -> Listing:
        return self.scanned.listing

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self.scanned.signatures

    def take(self, paths: tuple[str, ...], exclude: tuple[str, ...], *, parents: bool) -> tuple[Taken, ...]:
        """What the paths select, digested. Raises MissingSource, ValueError, Refused, RetryLater."""
        selection = select(self.listing, paths, exclude, parents=parents)
        with_digests(self, selection)
        return selection

    def digest(self, paths: tuple[str, ...], exclude: tuple[str, ...], *, parents: bool) -> str:
        """Of just those files."""
        return digest(self.listing, self.take(paths, exclude, parents=parents))

    def remember(self) -> None:
        """Keep the digests known by now for the next build. Forgetting them is no harm, so no error is told."""
        known = {
            path: (signature, entry.content)
            for path, signature in self.signatures.items()
            if (entry := self.listing.entries[path]).content and signature[1] < self.scanned_at_ns - SETTLED_NS
        }
        if known == self.known:
            return
        temporary = self.memory.with_name(f"{self.memory.name}.{os.getpid()}.new")
        with suppress(OSError):
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({path: (*row, content) for path, (row, content) in known.items()}))
            temporary.rename(self.memory)


@contextmanager
def open_context(layout: Layout, name: str, path: Path, ignore: Ignore | None) -> Iterator[Context]:
    """Raises Refused for what is no directory."""
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            error.strerror or str(error),
            step="open the context",
            path=str(path),
            errno=error.errno,
            hint="name a directory, a tar, or a repository",
        ) from error
    try:
        memory = layout.root / "build" / "contexts" / f"{_key(path, ignore)}.json"
        known = _recall(memory)
        now = time.time_ns()
        yield Context(name, path, scan(top, ignore, known), memory, now, known)
    finally:
        os.close(top)


def read_inside(path: Path, name: str, most: int) -> bytes | None:
    """A small file of a context, through links that stay inside; None where there is none. Raises Refused."""
    from runtime.kernel.openat2 import open_inside

    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            error.strerror or str(error), step="open the context", path=str(path), errno=error.errno
        ) from error
    try:
        fd = open_inside(top, name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(error.strerror or str(error), step="read", path=name, errno=error.errno) from error
    finally:
        os.close(top)
    with os.fdopen(fd, "rb") as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise Refused(error.strerror or str(error), step="read", path=name, errno=error.errno) from error
    if len(content) > most:
        raise Refused(f"is larger than {most} bytes", step="read", path=name)
    return content


def read_ignore_of(path: Path, dockerfile: str) -> Ignore | None:
    """The ignore file beside the Dockerfile if it has one of its own, else the context's. Raises Invalid, Refused."""
    from schemas.dockerfile.ignore import ignore_files

    for name in ignore_files(dockerfile) if dockerfile else (".dockerignore",):
        content = read_inside(path, name, LARGEST_IGNORE)
        if content is not None:
            return read_ignore(content.decode(errors="surrogateescape"), name)
    return None


def changed_files(before: Mapping[str, str], context: Context) -> list[str]:
    """Files whose digest is another one than it was, new ones, and those that went; sorted."""
    now = {path: entry.content for path, entry in context.listing.entries.items() if entry.kind is Kind.FILE}
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def _key(path: Path, ignore: Ignore | None) -> str:
    """One memory for each directory."""
    return hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]


def _recall(memory: Path) -> dict[str, tuple[Signature, str]]:
    try:
        found = json.loads(memory.read_bytes())
        return {path: ((inode, changed, size), digest) for path, (inode, changed, size, digest) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


__all__ = ["Context", "changed_files", "open_below", "open_context", "read_ignore_of", "read_inside"]
