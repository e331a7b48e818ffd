"""One consistent look at a directory of manifests: their texts, and a digest of all that they depend on.

Files are read when nobody is writing them: neither a program that has a manifest open for writing, nor git that holds
the lock of its index. A look that changed while it was taken is taken again. Blocks; called in a thread.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.sources.directory import read_texts
from reconciler.sources.files import manifest_files
from reconciler.sources.revision import digest_of
from schemas.errors import Refused, RetryLater
from schemas.load import Text

PATIENCE = 2.0
"""Seconds for a writer to finish; what is there then is read as it is."""
PAUSE = 0.01
STALE_LOCK = 10.0
"""Seconds after which git's lock was left behind by a git that died."""
MOST_LOOKS = 20
LONG_STILL = 3.0
"""Seconds since a file was written after which its stamp tells it from what is written later: clocks of file systems
tick, and two writes within one tick look alike."""

Stamp = tuple[str, int, int, int, int]
"""Path, device, inode, size, time of change."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`digest`: of the texts; `links`: manifests that are symbolic links; `stamps`: what each file was known by, and
    `attended` those of the files that manifests point at; `kept`: texts that need not be read again while their
    files have the same stamp."""

    digest: str
    texts: tuple[Text, ...] = field(repr=False)
    links: frozenset[Path] = frozenset()
    stamps: frozenset[Stamp] = field(default=frozenset(), repr=False)
    attended: tuple[Stamp, ...] = field(default=(), repr=False)
    kept: Mapping[Stamp, bytes] = field(default_factory=dict, repr=False)


NOTHING = Snapshot("", ())


def take(path: Path, attended: Collection[Path] = (), last: Snapshot = NOTHING) -> Snapshot:
    """A look at `path` that nothing changed meanwhile. `attended`: files that count by size and time of change;
    `last`: the look before.

    Raises Refused where there is nothing to read, RetryLater where it does not hold still.
    """
    deadline = time.monotonic() + PATIENCE
    while is_git_busy(path) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    for _ in range(MOST_LOOKS):
        still = time.time() - LONG_STILL
        before = _stamps(path, attended)
        changed = [stamp[0] for stamp in before if stamp not in last.stamps]
        while any(map(is_being_written, changed)) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        try:
            texts = read_texts([str(path)], {stamp[0]: last.kept[stamp] for stamp in before if stamp in last.kept})
        except Refused:
            if before != _stamps(path, attended):
                continue
            raise
        if before == _stamps(path, attended):
            return _snapshot(texts, before, attended, still)
    raise RetryLater("is being written without a pause", step="read manifests", path=str(path))


def _snapshot(texts: list[Text], stamps: list[Stamp], attended: Collection[Path], still: float) -> Snapshot:
    contents = {text.name: _bytes(text) for text in texts}
    parts = [part for name, content in contents.items() for part in (name.encode(errors="surrogateescape"), content)]
    return Snapshot(
        digest_of(parts),
        tuple(texts),
        frozenset(Path(name) for name in contents if os.path.islink(name)),  # noqa: PTH114 - a third of the time
        frozenset(stamps),
        tuple(stamps[len(stamps) - len(attended) :]),
        {stamp: contents[stamp[0]] for stamp in stamps if stamp[0] in contents and stamp[4] < still * 1e9},
    )


def _bytes(text: Text) -> bytes:
    return text.text if isinstance(text.text, bytes) else text.text.encode()


def stamps_of(files: Collection[Path]) -> tuple[Stamp, ...]:
    """What each of the files is known by now, in order of their names."""
    return tuple(_stamps_of(sorted(map(str, files))))


def _stamps(path: Path, attended: Collection[Path]) -> list[Stamp]:
    files = sorted(manifest_files(str(path))) if path.is_dir() else [str(path)]
    return list(_stamps_of([*files, *sorted(map(str, attended))]))


def _stamps_of(files: Collection[str]) -> Iterator[Stamp]:
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116 - a third of the time
        except OSError:
            yield file, 0, 0, 0, 0
        else:
            yield file, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_being_written(name: str) -> bool:
    """Whether some process has the file open for writing: then no read lease is given (fcntl(2), F_SETLEASE).

    False also where the file system knows no leases.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # a broken lease sends a signal, and SIGIO would end the process; SIGURG is ignored
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def is_git_busy(path: Path) -> bool:
    """Whether a git works on the files just now: the repository around `path` has a fresh `index.lock`."""
    for parent in (path, *path.parents):
        if (parent / ".git").is_dir():
            try:
                # one of a time to come is as old as the clock that was set back since
                return abs(time.time() - (parent / ".git/index.lock").stat().st_mtime) < STALE_LOCK
            except OSError:
                return False
    return False
