"""trimtab's own registry in a thread of the test's, and the few requests that tests make of it."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.registry.run import registry
from reconciler.registry.settings import Settings
from runtime.images.hosted.catalog import Catalog
from runtime.images.hosted.database import opened
from runtime.layout import Layout
from tests.registry.samples import Address, Sample

SECONDS = 30
OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The spec's word for what went wrong."""
        return str(self.document["errors"][0]["code"])

    @property
    def location(self) -> str:
        return self.headers["Location"]


@dataclass
class Host:
    """A registry that runs, and a connection to it. `layout`: of its engine. `is_hasty`: it closes connections soon."""

    address: Address
    layout: Layout
    is_hasty: bool = False
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = self.address.connect()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Said:
        given = self.address.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            return self._ask(method, path, body, given)
        except (ConnectionError, http.client.RemoteDisconnected):
            if not self.is_hasty:
                raise
            return self._ask(method, path, body, given)

    def _ask(self, method: str, path: str, body: bytes, given: Mapping[str, str]) -> Said:
        try:
            self.connection.request(method, path, body or None, given)
            with self.connection.getresponse() as response:
                return Said(response.status, dict(response.getheaders()), response.read())
        except BaseException:
            self.connection.close()
            raise

    def push_blob(self, repository: str, content: bytes) -> str:
        digest = digest_of(content)
        path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
        assert self.ask("POST", path, content, Content_Type=OCTETS).status == 201
        return digest

    def begin(self, repository: str) -> str:
        """Where the upload goes on."""
        said = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert said.status == 202
        return said.location

    def push(self, repository: str, pin: str, sample: Sample) -> Said:
        """All of an image or index; the answer to its manifest."""
        for part in sample.manifests:
            self.push(repository, part.digest, part)
        for content in sample.blobs.values():
            self.push_blob(repository, content)
        path = f"/v2/{repository}/manifests/{pin}"
        return self.ask("PUT", path, sample.content, Content_Type=sample.media_type)

    def catalog(self, space: str = "") -> _Opened:
        return _Opened(self.layout, space)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The registry's catalog, opened beside the server."""

    layout: Layout
    space: str

    def execute(self, text: str, *values: object) -> list[Any]:
        with opened(self.layout) as database, database.writing() as db:
            return db.execute(text, values).fetchall()

    def __call__(self, call: str, *arguments: Any) -> Any:
        with opened(self.layout) as database:
            return getattr(Catalog(database, self.space), call)(*arguments)


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


@contextmanager
def hosting(layout: Layout, address: Address | None = None, **settings: Any) -> Iterator[Host]:
    """A registry over the engine's store, on a port of the kernel's choice; `address`: what it takes to get in."""
    told = Settings(**({"port": 0} | settings))
    ready: Future[str] = Future()
    leave: Future[asyncio.Event] = Future()

    async def live() -> None:
        async with registry(layout, told) as where:
            event = asyncio.Event()
            leave.set_result(event)
            loops.append(asyncio.get_running_loop())
            ready.set_result(where)
            await event.wait()

    loops: list[asyncio.AbstractEventLoop] = []

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        where = ready.result(SECONDS).partition("://")[2]
        made = address or Address("")
        reached = Address(where, made.username, made.password, made.tls)
        host = Host(reached, layout, is_hasty="stall_seconds" in settings)
        yield host
        host.connection.close()
    finally:
        if loops:
            loops[0].call_soon_threadsafe(leave.result(SECONDS).set)
        thread.join(SECONDS)
    assert not thread.is_alive()


def engine(directory: Path) -> Layout:
    """An engine that has nothing but a root."""
    made = Layout(directory / "root", directory / "run")
    made.root.mkdir(parents=True)
    return made
