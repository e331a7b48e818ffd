"""Read a container's log back, line by line: the reading half of the log drivers.

Called by the reconciler at any time: while the monitor writes and rotates, and after everything has ended. A line
longer than 16 KiB comes in pieces, all but the last marked `partial`.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from runtime.process import log_format
from runtime.process.log_format import JSON_FILE, LINE_BYTES, LOCAL_FILE, STREAMS
from runtime.process.log_read import Chunk, file_chunks
from runtime.process.paths import is_locked

IN_MODIFY = 0x00000002

MOST_WATCHES = 16
POLL_SECONDS = 0.25
LOOK_SECONDS = 1.0
"""How often a follower looks whether the monitor still lives; what it writes is seen at once."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line without its newline, in seconds since the epoch; `stream` is stdout or stderr."""

    time: float
    stream: str
    text: str
    partial: bool = False


def read_logs(
    directory: str | os.PathLike[str],
    follow: bool = False,
    tail: int | None = None,
    since: float | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[LogLine]:
    """The lines of a container's log, oldest first.

    `tail` gives only the last so many of what is there now; `since` (seconds since the epoch) leaves out older ones;
    with `follow` the iterator goes on until the container has ended, or `stop` says so, which is asked each second.
    """
    reader = _Files(os.fspath(directory))
    try:
        for line in _all_lines(reader, follow, tail, stop):
            if since is None or line.time >= since:
                yield line
    finally:
        reader.close()


def _all_lines(reader: _Files, follow: bool, tail: int | None, stop: Callable[[], bool] | None) -> Iterator[LogLine]:
    lines = _Lines()
    if follow:
        yield from _last(_existing(reader, lines), tail)
        yield from _following(reader, lines, stop)
        yield from lines.finish()
    else:
        yield from _last(chain(_existing(reader, lines), lines.finish()), tail)


def _last(lines: Iterator[LogLine], count: int | None) -> Iterator[LogLine]:
    return lines if count is None else iter(deque(lines, maxlen=count))


def _existing(reader: _Files, lines: _Lines) -> Iterator[LogLine]:
    for chunk in reader.chunks():
        yield from lines.add(chunk)


def _following(reader: _Files, lines: _Lines, stop: Callable[[], bool] | None) -> Iterator[LogLine]:
    with _Watch(reader.directory) as watch:
        while True:
            # asked before reading: what was written until the lock fell is then read for certain
            ended = _is_closed(reader.directory)
            for chunk in reader.chunks():
                yield from lines.add(chunk)
            if ended or (stop is not None and stop()):
                return
            watch.wait()


def _is_closed(directory: str) -> bool:
    """Whether no monitor writes here any more: none holds the lock."""
    return not is_locked(f"{directory}/{log_format.LOCK_FILE}")


class _Lines:
    """Cuts chunks into lines; what has no newline yet waits for more of its stream."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[float, bytes]] = {}

    def add(self, chunk: Chunk) -> Iterator[LogLine]:
        moment = chunk.time / 1e9
        started, text = self.waiting.pop(chunk.stream, (moment, b""))
        *whole, rest = (text + chunk.data).split(b"\n")
        for line in whole:
            yield from _pieces(started, chunk.stream, line, last=True)
            started = moment
        while len(rest) >= LINE_BYTES:
            yield from _pieces(started, chunk.stream, rest[:LINE_BYTES], last=False)
            rest = rest[LINE_BYTES:]
        if rest:
            self.waiting[chunk.stream] = (started, rest)

    def finish(self) -> Iterator[LogLine]:
        """What never got its newline."""
        for stream, (moment, text) in sorted(self.waiting.items(), key=lambda item: item[1][0]):
            yield from _pieces(moment, stream, text, last=True)
        self.waiting.clear()


def _pieces(moment: float, stream: int, line: bytes, *, last: bool) -> Iterator[LogLine]:
    starts = range(0, len(line), LINE_BYTES) or (0,)
    for start in starts:
        piece = line[start : start + LINE_BYTES].decode(errors="replace")
        partial = not last or start + LINE_BYTES < len(line)
        yield LogLine(moment, STREAMS[stream], piece, partial)


class _Files:
    """The files of a log in the order they were written, with the place reached in the one being read."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.name = LOCAL_FILE
        if not os.path.exists(f"{directory}/{LOCAL_FILE}") and os.path.exists(f"{directory}/{JSON_FILE}"):
            self.name = JSON_FILE
        # held open, so that its inode's number cannot come back as another file's
        self.held: BinaryIO | None = None
        self.offset = 0

    def close(self) -> None:
        if self.held is not None:
            self.held.close()
            self.held = None

    def chunks(self) -> Iterator[Chunk]:
        """Everything written since the last call."""
        while True:
            yield from self._rest()
            following = self._successor()
            if following is None:
                return
            # its last bytes were written before it was put aside: now they are all there
            yield from self._rest()
            self.close()
            self.held, self.offset = following, 0

    def _rest(self) -> Iterator[Chunk]:
        if self.held is not None:
            for chunk, end in file_chunks(self.held, self.name, self.offset):
                self.offset = end
                yield chunk

    def _successor(self) -> BinaryIO | None:
        """The file begun after the one held, the oldest one where that is gone; None where there is no other."""
        while os.path.isdir(self.directory):
            files = log_format.rotated(self.directory, self.name)
            place = self._place(files)
            if place < 0 and self.held is not None and os.fstat(self.held.fileno()).st_nlink:
                # it was put aside between the listing and the look
                continue
            if place + 1 >= len(files):
                return None
            with contextlib.suppress(FileNotFoundError):
                file = open(files[place + 1], "rb")  # noqa: SIM115 - closed by `close`
                # the same names for the same files still: nothing was put aside meanwhile
                if self._place(files) == place and os.path.samestat(os.stat(files[place + 1]), os.fstat(file.fileno())):
                    return file
                file.close()
        return None

    def _place(self, files: list[str]) -> int:
        """Where the file held stands among `files`; -1 where it does not."""
        for number, path in enumerate(files):
            with contextlib.suppress(FileNotFoundError):
                if self.held is not None and os.path.samestat(os.stat(path), os.fstat(self.held.fileno())):
                    return number
        return -1


def _watching(directory: str) -> int:
    """An inotify instance; one that tells of nothing where the directory is gone. Raises OSError."""
    from runtime.kernel import inotify

    descriptor = inotify.inotify_init1()
    try:
        with contextlib.suppress(FileNotFoundError):
            inotify.inotify_add_watch(descriptor, directory, IN_MODIFY | inotify.IN_CREATE | inotify.IN_CLOSE_WRITE)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class _Watch:
    """Waits until something in a directory is written, or `LOOK_SECONDS` have passed.

    A user has 128 inotify instances (fs.inotify.max_user_instances), and others need some: whoever comes after
    `MOST_WATCHES` in this process looks every `POLL_SECONDS`.
    """

    free = threading.Semaphore(MOST_WATCHES)

    def __init__(self, directory: str) -> None:
        from runtime.kernel import inotify

        self.read_events = inotify.read_events
        self.descriptor: int | None = None
        if not self.free.acquire(blocking=False):
            return
        try:
            self.descriptor = _watching(directory)
        except OSError:
            self.free.release()

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.free.release()

    def wait(self) -> None:
        if self.descriptor is None:
            time.sleep(POLL_SECONDS)
            return
        waiting = select.poll()
        waiting.register(self.descriptor, select.POLLIN)
        waiting.poll(LOOK_SECONDS * 1000)
        for _ in self.read_events(self.descriptor):
            pass
