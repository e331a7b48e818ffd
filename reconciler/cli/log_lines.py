"""The work of `trimtab logs`: lines of one container or several, in the order of time, to the stream they came from."""

from __future__ import annotations

import heapq
import json
import math
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import click

from reconciler.caller import caller
from reconciler.cli.quantities import PRECISION, time_text
from runtime.layout import Layout
from runtime.process.logs import LogLine, read_logs

Told = tuple[str, LogLine]
"""A container's name and one of its lines."""
Lines = queue.Queue[Told | BaseException | None]
"""Of containers that are followed together; an error, or None, is the last of one of them."""
MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: times are seconds since the epoch, `tail` counts per container."""

    follow: bool = False
    tail: int | None = None
    since: float | None = None
    until: float | None = None
    stream: str | None = None
    timestamps: bool = False
    has_left: Callable[[], bool] = field(default_factory=lambda: caller().has_left)


def print_logs(layout: Layout, names: Sequence[str], wanted: Wanted) -> None:
    """Until all is printed, or with `follow` until the containers have ended and none is started again."""
    for name in names:
        if log_driver(layout, name) == "none":
            click.echo(f"trimtab: Container/{name} keeps no log (logging driver none)", err=True)
    width = max(map(len, names)) if len(names) > 1 else 0
    printer = _Printer(wanted, width)
    for name, line in told_lines(layout, names, wanted):
        printer.tell(name, line)
    printer.flush()


def told_lines(layout: Layout, names: Sequence[str], wanted: Wanted) -> Iterator[Told]:
    """The lines, in the order of time; as they come where they are followed."""
    return _following(layout, names, wanted) if wanted.follow else _merged(layout, names, wanted)


def log_driver(layout: Layout, name: str) -> str:
    """The driver by the container's bundle; empty where that says nothing."""
    try:
        config = json.loads((layout.container(name) / "config.json").read_bytes())
        return str(json.loads(config["annotations"]["trimtab/log"])["driver"])
    except (OSError, ValueError, KeyError):
        return ""


def _merged(layout: Layout, names: Sequence[str], wanted: Wanted) -> Iterator[Told]:
    sources = ([(name, line) for line in _chosen(layout, name, wanted)] for name in names)
    yield from heapq.merge(*sources, key=lambda told: told[1].time)


def _chosen(layout: Layout, name: str, wanted: Wanted) -> Iterator[LogLine]:
    """Of what is there now. The last lines are counted among those of the stream that is asked for."""
    before = wanted.tail if wanted.stream is None and wanted.until is None else None
    lines = read_logs(layout.container_log(name), tail=before, since=wanted.since)
    kept = (line for line in lines if _is_wanted(line, wanted))
    yield from kept if wanted.tail is None else deque(kept, maxlen=wanted.tail)


def _is_wanted(line: LogLine, wanted: Wanted) -> bool:
    return wanted.stream in (None, line.stream) and (wanted.until is None or line.time < wanted.until + PRECISION)


def _following(layout: Layout, names: Sequence[str], wanted: Wanted) -> Iterator[Told]:
    """As they come; each container is read in a thread of its own, where there are several."""
    if len(names) == 1:
        yield from ((names[0], line) for line in _followed(layout, names[0], wanted))
        return
    lines: Lines = queue.Queue(MOST_WAITING)
    for name in names:
        threading.Thread(target=_feed, args=(layout, name, wanted, lines), daemon=True).start()
    left = len(names)
    while left:
        try:
            told = lines.get(timeout=1.0)
        except queue.Empty:
            if wanted.has_left():
                return
            continue
        if isinstance(told, BaseException):
            raise told
        if told is None:
            left -= 1
        else:
            yield told


def _feed(layout: Layout, name: str, wanted: Wanted, lines: Lines) -> None:
    try:
        for line in _followed(layout, name, wanted):
            if not _put(lines, (name, line), wanted):
                return
        _put(lines, None, wanted)
    except BaseException as error:
        _put(lines, error, wanted)


def _put(lines: Lines, told: Told | BaseException | None, wanted: Wanted) -> bool:
    """False where nobody takes any more: who reads slowly holds up the reading, not the memory."""
    while not wanted.has_left():
        with suppress(queue.Full):
            lines.put(told, timeout=0.25)
            return True
    return False


def _followed(layout: Layout, name: str, wanted: Wanted) -> Iterator[LogLine]:
    since, tail = wanted.since, wanted.tail
    if wanted.stream is not None and tail:
        # the reader counts lines of both streams: find out since when there are as many of the one
        last = list(_chosen(layout, name, wanted))
        since, tail = (last[0].time if last else since), None
    from reconciler.cli.attempts import begins_again

    endless, goes_on = replace(wanted, until=None), True
    while not wanted.has_left():
        lines = read_logs(layout.container_log(name), follow=goes_on, tail=tail, since=since, stop=wanted.has_left)
        for line in lines:
            since, tail = math.nextafter(line.time, math.inf), None
            if _is_wanted(line, endless):
                yield line
        if not goes_on:
            return
        # one more look where none is to come: an attempt may have begun and ended meanwhile
        goes_on = begins_again(layout, name, wanted.has_left)


@dataclass(slots=True)
class _Printer:
    """Writes lines; what is not yet at its newline gets no second prefix."""

    wanted: Wanted
    width: int
    unfinished: set[tuple[str, str]] = field(default_factory=set)
    last: BinaryIO | None = None

    def tell(self, name: str, line: LogLine) -> None:
        out = sys.stderr.buffer if line.stream == "stderr" else sys.stdout.buffer
        if self.last not in (None, out):
            self.flush()
        begun = (name, line.stream) in self.unfinished
        out.write(f"{'' if begun else self._prefix(name, line)}{line.text}".encode(errors="replace"))
        if line.partial:
            self.unfinished.add((name, line.stream))
        else:
            self.unfinished.discard((name, line.stream))
            out.write(b"\n")
        self.last = out
        if self.wanted.follow:
            self.flush()

    def _prefix(self, name: str, line: LogLine) -> str:
        time = f"{time_text(line.time)} " if self.wanted.timestamps else ""
        return (f"{name:{self.width}} | " if self.width else "") + time

    def flush(self) -> None:
        if self.last is not None:
            self.last.flush()
