"""Bytes from one descriptor to another, several pairs at once, until somebody else says that it is over.

Used by clients of exec. Each pair holds what its target has not taken yet, at most one read, and nobody waits for one
target while another could go on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from runtime.kernel import terminal

COPY_BYTES = 1 << 16


@dataclass(slots=True)
class Pair:
    """A source and its target, and which of them are ours to close at the end of the source."""

    source: int
    target: int
    owns_source: bool
    owns_target: bool
    waiting: bytes = b""
    ended: bool = False


class Copier:
    """Copies every pair added."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []

    def add(self, source: int, target: int, *, owns_source: bool = False, owns_target: bool = False) -> None:
        """Copy from `source` to `target`; what is owned is closed when the source has ended."""
        if owns_target:
            os.set_blocking(target, False)
        self.pairs.append(Pair(source, target, owns_source, owns_target))

    def run_until(self, signal_descriptor: int) -> None:
        """Copy until `signal_descriptor` has something to read."""
        while True:
            ready = _wait(self.pairs, signal_descriptor, None)
            if signal_descriptor in ready:
                return
            for pair in self.pairs:
                _move(pair, ready)

    def finish(self) -> None:
        """Copy what our own sources still hold: the process that wrote into them has ended."""
        ours = [pair for pair in self.pairs if pair.owns_source]
        while ready := _wait(ours, None, 0):
            for pair in ours:
                _move(pair, ready)

    def close(self) -> None:
        """Close what is ours and not closed yet."""
        for pair in self.pairs:
            _end(pair)


def _wait(pairs: list[Pair], extra: int | None, timeout: float | None) -> dict[int, int]:
    wanted: dict[int, int] = {}
    for pair in pairs:
        if not pair.ended:
            # a terminal may be source of one pair and target of another
            descriptor, event = (pair.target, select.POLLOUT) if pair.waiting else (pair.source, select.POLLIN)
            wanted[descriptor] = wanted.get(descriptor, 0) | event
    if extra is not None:
        wanted[extra] = select.POLLIN
    poll = select.poll()
    for descriptor, events in wanted.items():
        poll.register(descriptor, events)
    return dict(poll.poll(timeout))


def _move(pair: Pair, ready: dict[int, int]) -> None:
    if pair.ended:
        return
    try:
        if pair.waiting:
            if ready.get(pair.target, 0) & ~select.POLLIN:
                pair.waiting = pair.waiting[os.write(pair.target, pair.waiting) :]
        elif ready.get(pair.source, 0) & ~select.POLLOUT:
            pair.waiting = os.read(pair.source, COPY_BYTES)
            if not pair.waiting:
                _end(pair)
    except BlockingIOError:
        return
    except OSError:
        # EIO: a terminal's other side is closed; EPIPE: nobody reads
        _end(pair)


def _end(pair: Pair) -> None:
    if pair.ended:
        return
    pair.ended = True
    if pair.owns_source:
        os.close(pair.source)
    if pair.owns_target:
        os.close(pair.target)


@contextmanager
def raw_terminal(descriptor: int, resized: Callable[[int, int], None]) -> Iterator[None]:
    """Put the caller's terminal into raw mode meanwhile, and tell of its size now and whenever it changes."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    resized(*terminal.read_size(descriptor))
    with _on_resize(lambda: resized(*terminal.read_size(descriptor))):
        # what was typed ahead is kept
        tty.setraw(descriptor, termios.TCSADRAIN)
        try:
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _on_resize(call: Callable[[], None]) -> Iterator[None]:
    # only the main thread may hear signals; elsewhere the size stays what it was
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        call()

    before = signal.signal(signal.SIGWINCH, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def pass_size(master: int, rows: int, columns: int) -> None:
    """Give a terminal a size; it may be gone already."""
    with contextlib.suppress(OSError):
        terminal.set_size(master, rows, columns)
