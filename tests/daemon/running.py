"""A daemon of a test's own: started as people start it, found by its socket, ended by its pid."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cli.engine import Engine, Running, Said

SECONDS = 30


@dataclass
class Daemon:
    engine: Engine
    running: Running

    @property
    def pid(self) -> int:
        return self.running.process.pid

    @property
    def socket(self) -> Path:
        return self.engine.layout.api_socket

    def send(self, number: int) -> None:
        self.running.process.send_signal(number)

    def wait_log(self, text: str) -> None:
        """Until the log has it."""
        deadline = time.monotonic() + SECONDS
        while text not in self.running.so_far().err:
            assert time.monotonic() < deadline, self.running.so_far()
            assert self.running.process.poll() is None, self.running.so_far()
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> Said:
        self.send(number)
        return self.running.wait()


@contextlib.contextmanager
def daemon(engine: Engine, *options: str) -> Iterator[Daemon]:
    """A daemon that hears; killed at the end if it still lives."""
    made = Daemon(engine, engine.start("daemon", *options))
    try:
        made.wait_log('"ready"')
        yield made
    finally:
        if made.running.process.poll() is None:
            made.send(signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                made.running.wait(SECONDS)
        if not made.running.out.closed:
            made.running.out.close()
            made.running.err.close()


def answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(path))
        return True
    return False
