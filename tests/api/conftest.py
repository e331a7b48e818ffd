"""A daemon with something applied, and a way to ask it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import making_engine
from tests.daemon.running import Daemon, daemon


class Connection(http.client.HTTPConnection):
    """To a UNIX socket."""

    def __init__(self, path: Path, timeout: float = 60.0) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Asking:
    """Questions to a daemon; each on a connection of its own."""

    def __init__(self, served: Daemon) -> None:
        self.daemon = served
        self.engine = served.engine

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, bytes]:
        """Status, content type, body."""
        connection = Connection(self.daemon.socket)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, answer.headers.get_content_type(), answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The document of an answer with the status that is expected."""
        found, _, text = self.raw(method, path, body)
        assert found == status, text
        return json.loads(text) if text else None

    def problem(self, method: str, path: str, body: Any = None, status: int = 422) -> Any:
        """The problem that must be told."""
        found, kind, text = self.raw(method, path, body)
        assert (found, kind) == (status, "application/problem+json"), text
        document = json.loads(text)
        assert document["status"] == status and document["title"] and document["detail"]
        return document


@pytest.fixture(scope="module")
def api(busybox_tree: Path) -> Iterator[Asking]:
    """Leave it as you find it."""
    with making_engine() as engine:
        engine.write("shop.yaml", shop_manifest(busybox_tree))
        engine.ok("-H", "none", "apply", "--set", "shop", "shop.yaml")
        with daemon(engine) as served:
            yield Asking(served)
            # whatever a client did, the daemon met no fault of its own
            assert '"fault"' not in served.running.so_far().err, served.running.so_far().err[-4000:]
