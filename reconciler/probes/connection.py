"""A connection into a container's network, made by the engine: the socket is opened inside, used from outside."""

from __future__ import annotations

import socket
import time

from runtime.network.namespace import inside, namespace_of
from runtime.process.records import ProcessRecord
from schemas.errors import Refused

TARGETS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""What listens on one address alone is asked by a command."""


def open_connection(process: ProcessRecord, port: int, timeout: float) -> socket.socket:
    """Connected, with what is left of `timeout` seconds as its time for each call. Raises OSError, RetryLater."""
    deadline = time.monotonic() + timeout
    failure: OSError | None = None
    for family, address in TARGETS:
        try:
            opened = _open_inside(process, family)
        except OSError as error:
            failure = failure or error
            continue
        try:
            opened.settimeout(max(0.001, deadline - time.monotonic()))
            opened.connect((address, port))
            opened.settimeout(max(0.001, deadline - time.monotonic()))
            return opened
        except OSError as error:
            opened.close()
            failure = failure or error
    assert failure is not None
    raise failure


def _open_inside(process: ProcessRecord, family: int) -> socket.socket:
    """A socket belongs to the network namespace it was opened in."""
    try:
        with namespace_of(process.pid, process.start_time) as namespace, inside(namespace):
            return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except Refused:
        # it shares the host's network
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
