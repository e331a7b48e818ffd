"""Where a container's output goes: the writing half of the log drivers (`logs.py` reads, `log_format.py` tells how).

Called by the monitor with what one read of a pipe gave. It writes before it returns, so a slow disk slows the container
down. Nothing is kept in memory but an unfinished line of `json-file`, at most 16 KiB per stream.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from json.encoder import encode_basestring_ascii
from typing import Any, Protocol

from runtime.process import log_format
from runtime.process.failure import ProcessFailed, step
from runtime.process.log_format import HEADER, LINE_BYTES, STREAMS, TRAILER

LOG_ANNOTATION = "trimtab/log"
DEFAULT_BYTES = 20 << 20
DEFAULT_FILES = 5

LOOK_SECONDS = 0.05
"""How long a follower that looks may stand in a writer's way."""


class Log(Protocol):
    """A driver: takes what one read(2) gave, from stream 1 or 2."""

    def write(self, stream: int, data: bytes) -> None: ...

    def rotate_at(self, max_size: int, max_file: int) -> None: ...

    def close(self) -> None: ...


class NoLog:
    """The driver `none`."""

    def write(self, stream: int, data: bytes) -> None:
        return None

    def rotate_at(self, max_size: int, max_file: int) -> None:
        return None

    def close(self) -> None:
        return None


class RotatedFile:
    """A file that is put aside once it holds `max_size` bytes; `max_file` of them are kept."""

    def __init__(self, directory: str, name: str, max_size: int, max_file: int, lock: int) -> None:
        self.directory = directory
        self.name = name
        self.max_size = max_size
        self.max_file = max(1, max_file)
        self.lock = lock
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self.file = os.open(f"{self.directory}/{self.name}", flags, 0o600)
        self.size = os.fstat(self.file).st_size

    def append(self, parts: list[bytes]) -> None:
        """Append, whole even where the kernel takes it piecewise."""
        written = os.writev(self.file, parts)
        length = sum(map(len, parts))
        if written < length:
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                rest = rest[os.write(self.file, rest) :]
        self.size += length
        if self.size >= self.max_size:
            os.close(self.file)
            log_format.rotate(self.directory, self.name, self.max_file)
            self._open()

    def rotate_at(self, max_size: int, max_file: int) -> None:
        """Other limits from the next write on (bytes, files); files too many go with the next rotation."""
        self.max_size, self.max_file = max_size, max(1, max_file)

    def close(self) -> None:
        os.close(self.file)
        os.close(self.lock)


class LocalLog:
    """The driver `local`: a record per read, the bytes as they came."""

    def __init__(self, directory: str, max_size: int, max_file: int, lock: int) -> None:
        self.file = RotatedFile(directory, log_format.LOCAL_FILE, max_size, max_file, lock)
        self._mend()

    def _mend(self) -> None:
        """Cut off what a monitor that died while writing has left unfinished."""
        descriptor = os.open(f"{self.file.directory}/{self.file.name}", os.O_RDWR | os.O_CLOEXEC)
        try:
            if not log_format.ends_whole(descriptor, self.file.size):
                self.file.size = log_format.whole_size(os.pread(descriptor, self.file.size, 0))
                os.ftruncate(descriptor, self.file.size)
        finally:
            os.close(descriptor)

    def rotate_at(self, max_size: int, max_file: int) -> None:
        self.file.rotate_at(max_size, max_file)

    def write(self, stream: int, data: bytes) -> None:
        length = len(data)
        self.file.append([HEADER.pack(length, stream, time.time_ns()), data, TRAILER.pack(length)])

    def close(self) -> None:
        self.file.close()


class JsonLog:
    """The driver `json-file`: Docker's format, a line per line."""

    def __init__(self, directory: str, max_size: int, max_file: int, lock: int) -> None:
        self.file = RotatedFile(directory, log_format.JSON_FILE, max_size, max_file, lock)
        self.unfinished = {1: b"", 2: b""}

    def rotate_at(self, max_size: int, max_file: int) -> None:
        self.file.rotate_at(max_size, max_file)

    def write(self, stream: int, data: bytes) -> None:
        text = self.unfinished[stream] + data
        whole, newline, rest = text.rpartition(b"\n")
        while len(rest) >= LINE_BYTES:
            # a piece of a long line has no newline: that is how Docker marks it
            pieces, rest = rest[:LINE_BYTES], rest[LINE_BYTES:]
            self._append(stream, whole + newline, pieces)
            whole = newline = b""
        self.unfinished[stream] = rest
        self._append(stream, whole + newline, b"")

    def _append(self, stream: int, lines: bytes, piece: bytes) -> None:
        tail = f'","stream":"{STREAMS[stream]}","time":"{_rfc3339(time.time_ns())}"}}\n'
        encode = encode_basestring_ascii
        made = []
        for line in lines.decode(errors="replace").split("\n")[:-1]:
            if len(line) > LINE_BYTES:
                *pieces, line = _cut(line)
                made += [f'{{"log":{encode(part)[:-1]}{tail}' for part in pieces]
            made.append(f'{{"log":{encode(line)[:-1]}\\n{tail}')
        if piece:
            made.append(f'{{"log":{encode(piece.decode(errors="replace"))[:-1]}{tail}')
        if made:
            self.file.append(["".join(made).encode()])

    def close(self) -> None:
        for stream, rest in self.unfinished.items():
            if rest:
                self._append(stream, b"", rest)
        self.file.close()


def _cut(line: str) -> list[str]:
    return [line[start : start + LINE_BYTES] for start in range(0, len(line), LINE_BYTES)]


def _rfc3339(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def log_settings(spec: dict[str, Any]) -> dict[str, Any] | None:
    """What a specification's annotation says about its log; None for no log."""
    annotation = (spec.get("annotations") or {}).get(LOG_ANNOTATION)
    if annotation is None:
        return None
    wanted: dict[str, Any] = json.loads(annotation)
    driver = wanted["driver"]
    if driver not in {"local", "json-file", "none"}:
        raise ProcessFailed(f"unknown log driver {driver!r}", step="log")
    return wanted if driver != "none" else None


def lock_log(wanted: dict[str, Any]) -> int:
    """Make the directory of a log and lock it: until the descriptor is closed everywhere, more may be written."""
    directory = wanted["directory"]
    with step("log", directory):
        with contextlib.suppress(FileExistsError):
            os.makedirs(directory, mode=0o700)
        lock = os.open(f"{directory}/{log_format.LOCK_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock_soon(lock)
        except BaseException:
            os.close(lock)
            raise
        return lock


def _lock_soon(lock: int) -> None:
    """Followers look whether somebody writes by holding the lock themselves, for a few microseconds."""
    deadline = time.monotonic() + LOOK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_SECONDS / 50)


def open_log(wanted: dict[str, Any] | None, lock: int) -> Log:
    """The log with these settings; `lock` is what `lock_log` gave, and closed with the log."""
    if wanted is None:
        return NoLog()
    directory = wanted["directory"]
    made = LocalLog if wanted["driver"] == "local" else JsonLog
    with step("log", directory):
        limits = (wanted.get("max_size") or DEFAULT_BYTES, wanted.get("max_file") or DEFAULT_FILES)
        return made(directory, *limits, lock)
