"""Bytes from one descriptor to another, several pairs at once, until somebody else says that it is over.

Used by clients of exec and attach. Each pair holds what its target has not taken yet, at most one read.
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
    ended: bool = False


class Copier:
    """Copies every pair added."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []

    def add(self, source: int, target: int, *, owns_source: bool = False, owns_target: bool = False) -> None:
        """Copy from `source` to `target`; what is owned is closed when the source has ended."""
        self.pairs.append(Pair(source, target, owns_source, owns_target))

    def run_until(self, signal_descriptor: int) -> None:
        """Copy until `signal_descriptor` has something to read."""
        while True:
            ready = self._wait(signal_descriptor)
            if signal_descriptor in ready:
                return
            self._copy(ready)

    def finish(self) -> None:
        """Copy what our own sources still hold: the process that wrote into them has ended."""
        while ready := self._wait(None, 0, only_owned=True):
            self._copy(ready)

    def _wait(self, extra: int | None, timeout: float | None = None, only_owned: bool = False) -> list[int]:
        poll = select.poll()
        for pair in self.pairs:
            if not pair.ended and (pair.owns_source or not only_owned):
                poll.register(pair.source, select.POLLIN)
        if extra is not None:
            poll.register(extra, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll(timeout)]

    def _copy(self, ready: list[int]) -> None:
        for pair in self.pairs:
            if pair.source in ready and not pair.ended:
                _copy_once(pair)

    def resize(self, master: int, rows: int, columns: int) -> None:
        """Pass a size on to a terminal."""
        with contextlib.suppress(OSError):
            terminal.set_size(master, rows, columns)

    def close(self) -> None:
        """Close what is ours and not closed yet."""
        for pair in self.pairs:
            _end(pair)


def _copy_once(pair: Pair) -> None:
    try:
        data = os.read(pair.source, COPY_BYTES)
        if not data:
            _end(pair)
        view = memoryview(data)
        while view:
            view = view[os.write(pair.target, view) :]
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
        tty.setraw(descriptor)
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
