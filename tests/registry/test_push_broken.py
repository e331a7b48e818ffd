"""A push over a connection that breaks: it goes on where the registry says that it stands, and sends little twice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runtime.images.blobs import BlobStore
from runtime.images.progress import ignore
from runtime.images.registry import upload
from runtime.images.registry.push import PushWanted, push
from runtime.images.registry.settings import HostSettings, RegistrySettings
from schemas.reference import Reference
from tests.registry.hosting import engine, hosting
from tests.registry.samples import image, layer_tar, noise

CHUNK = 200_000
SECONDS = 30.0


@dataclass
class Wire:
    """Between a client and a registry. `breaks`: after how many bytes of the client's the connection that brings them
    is broken off, in turn, counted from the break before."""

    target: tuple[str, int]
    breaks: list[int]
    host: str = ""
    carried: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def allowed(self, size: int) -> int:
        """How much of what came may go on; less than all of it ends the connection."""
        with self.lock:
            if self.breaks and size >= self.breaks[0]:
                size = self.breaks.pop(0)
                self.carried += size
                return -size
            if self.breaks:
                self.breaks[0] -= size
            self.carried += size
            return size


@contextmanager
def wire(target: str, breaks: list[int]) -> Iterator[Wire]:
    host, _, port = target.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Wire((host, int(port)), breaks, f"127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=_accept, args=(made, server), daemon=True).start()
        yield made
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _accept(made: Wire, server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            registry = socket.create_connection(made.target, SECONDS)
            for work in ((_there, made, client, registry), (_back, client, registry)):
                threading.Thread(target=work[0], args=work[1:], daemon=True).start()


def _there(made: Wire, client: socket.socket, registry: socket.socket) -> None:
    with suppress(OSError), client, registry:
        while piece := client.recv(16384):
            size = made.allowed(len(piece))
            registry.sendall(piece[: abs(size)])
            if size < 0:
                break
        for each in (client, registry):
            each.shutdown(socket.SHUT_RDWR)


def _back(client: socket.socket, registry: socket.socket) -> None:
    with suppress(OSError):
        while piece := registry.recv(16384):
            client.sendall(piece)


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "CHUNK", CHUNK)


@pytest.mark.usefixtures("chunks")
def test_a_broken_push_goes_on_where_the_registry_stands(tmp_path: Path) -> None:
    sample = image(layer_tar({"noise": noise(2_000_000)}))
    store = BlobStore(engine(tmp_path / "client"))
    for content in (*sample.blobs.values(), sample.content):
        store.add(content)
    whole = sum(map(len, sample.blobs.values()))
    with hosting(engine(tmp_path)) as host, wire(host.address.host, [900_000, 700_000]) as between:
        settings = RegistrySettings({between.host: HostSettings(insecure=True)}, backoff=0.01)
        wanted = PushWanted(Reference.parse(f"{between.host}/team/app:1"), sample.digest)
        assert push(store, wanted, settings=settings, progress=ignore) == sample.digest
        assert between.breaks == []
        # what a break costs is the chunk that was on its way; the rest is headers
        assert between.carried < whole + 2 * CHUNK + 100_000
        assert host.ask("GET", "/v2/team/app/manifests/1").body == sample.content
        assert host.ask("GET", f"/v2/team/app/blobs/{sample.largest}").body == sample.blobs[sample.largest]
