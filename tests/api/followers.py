"""Clients that follow streams, and what of the daemon's they hold."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.api.conftest import Asking, Connection

SECONDS = 60.0


@dataclass(frozen=True)
class Held:
    """`descriptors`: sockets and inotify instances alone; of the store's file SQLite keeps some for the next."""

    descriptors: int
    threads: int
    memory: int


def held(api: Asking) -> Held:
    process = Path(f"/proc/{api.daemon.pid}")
    found = 0
    for link in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(link.readlink()).startswith(("socket:", "anon_inode:inotify"))
    pages = int((process / "statm").read_text().split()[1])
    return Held(found, len(list((process / "task").iterdir())), pages * os.sysconf("SC_PAGE_SIZE"))


def until(true: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def follow(api: Asking, path: str) -> tuple[int, Connection]:
    """The status of the answer that has begun, and the connection that it goes on by."""
    connection = Connection(api.daemon.socket)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, connection


@contextmanager
def followers(api: Asking, *paths: str, count: int) -> Iterator[list[int]]:
    """So many, of each path in turn; the statuses of their answers."""
    begun = [follow(api, paths[number % len(paths)]) for number in range(count)]
    try:
        yield [status for status, _ in begun]
    finally:
        for _, connection in begun:
            connection.close()
    until(lambda: under_way(api) == 0)


def under_way(api: Asking) -> int:
    """How many streams the daemon says are followed."""
    found = re.search(rb"^trimtab_followers (\d+)", api.raw("GET", "/metrics")[2], re.MULTILINE)
    assert found is not None
    return int(found[1])
