"""SIGKILL in the middle of a push, at each step: what the registry holds is whole, and pushing goes on."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.images.blobs import BlobStore
from runtime.images.collect import collect
from runtime.images.hosted.kept import hosted
from runtime.layout import Layout
from tests.registry.hosting import OCTETS, Host, digest_of, engine, hosting
from tests.registry.samples import Address, image, layer_tar, noise

SECONDS = 30.0
SERVE = """
import asyncio, os, signal, sys
from pathlib import Path
from reconciler.registry.run import registry
from reconciler.registry.settings import Settings
from runtime.images.hosted import catalog, keeping, uploads
from runtime.layout import Layout

root, point = sys.argv[1:]

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def dying_before(place, name):
    setattr(place, name, die)

def dying_after(place, name):
    real = getattr(place, name)
    def call(*args, **kwargs):
        real(*args, **kwargs)
        die()
    setattr(place, name, call)

def half(self, chunk, real=uploads.Upload.write):
    real(self, chunk[: len(chunk) // 2])
    die()

match point:
    case "half a chunk": uploads.Upload.write = half
    case "a chunk": dying_after(uploads.Upload, "write")
    case "before the blob is moved": dying_before(keeping, "store_lock")
    case "before the blob is recorded": dying_before(catalog.Catalog, "add_blob")
    case "after the blob is recorded": dying_after(catalog.Catalog, "add_blob")
    case "before the manifest is recorded": dying_before(catalog.Catalog, "add_manifest")
    case "after the manifest is recorded": dying_after(catalog.Catalog, "add_manifest")
    case "in the middle of a transaction":
        catalog._repository = lambda db, *a, real=catalog._repository: (real(db, *a), die())[0]

async def live():
    async with registry(Layout(Path(root), Path(root) / "run"), Settings(port=0)) as address:
        print(address, flush=True)
        await asyncio.Event().wait()

asyncio.run(live())
"""
BLOB_POINTS = (
    "half a chunk",
    "a chunk",
    "before the blob is moved",
    "before the blob is recorded",
    "in the middle of a transaction",
    "after the blob is recorded",
)
MANIFEST_POINTS = (
    "before the manifest is recorded",
    "in the middle of a transaction",
    "after the manifest is recorded",
)
CONTENT = noise(300_000, seed=5)
SAMPLE = image(layer_tar({"file": noise(1000, seed=6)}))


@contextmanager
def doomed(layout: Layout, point: str) -> Iterator[Host]:
    """A registry in a process of its own that kills itself at a point; at the end it has."""
    command = [sys.executable, "-c", SERVE, str(layout.root), point]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            where = child.stdout.readline().strip().partition("://")[2]
            host = Host(Address(where), layout)
            yield host
            host.connection.close()
            assert child.wait(SECONDS) == -signal.SIGKILL
        finally:
            child.kill()


def send(host: Host, method: str, path: str, content: bytes, media_type: str = OCTETS) -> None:
    """What is never answered."""
    host.connection.request(method, path, content, {"Content-Type": media_type})
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        host.connection.getresponse()


def require_whole(layout: Layout) -> None:
    """Every blob in the store is what its digest says; each repository has what its manifests need."""
    store = BlobStore(layout)
    for digest in store.digests():
        assert digest_of(store.path(digest).read_bytes()) == digest
    for digest in hosted(layout):
        assert store.has(digest), digest


@pytest.mark.parametrize("point", BLOB_POINTS)
def test_a_kill_while_a_blob_is_pushed(tmp_path: Path, point: str) -> None:
    layout = engine(tmp_path)
    digest = digest_of(CONTENT)
    with doomed(layout, point) as host:
        place = host.begin("team/app")
        send(host, "PUT", f"{place}?digest={digest}", CONTENT)
    require_whole(layout)
    with hosting(layout) as host:
        is_there = host.ask("HEAD", f"/v2/team/app/blobs/{digest}").status == 200
        assert is_there == (point == "after the blob is recorded")
        said = host.ask("GET", place)
        if said.status == 204 and not is_there:  # it goes on where it stands
            begin = int(said.headers["Range"].partition("-")[2])
            begin = begin + 1 if begin else 0
            rest = CONTENT[begin:]
            ranged = {"Content_Range": f"{begin}-{len(CONTENT) - 1}"} if rest else {}
            assert host.ask("PUT", f"{place}?digest={digest}", rest, **ranged).status == 201
        else:
            host.push_blob("team/app", CONTENT)
        assert host.ask("GET", f"/v2/team/app/blobs/{digest}").body == CONTENT
    require_whole(layout)
    collect(layout, ())
    assert list(BlobStore(layout).digests()) == [digest]


@pytest.mark.parametrize("point", MANIFEST_POINTS)
def test_a_kill_while_a_manifest_is_pushed(tmp_path: Path, point: str) -> None:
    layout = engine(tmp_path)
    with hosting(layout) as host:
        for content in SAMPLE.blobs.values():
            host.push_blob("team/app", content)
    with doomed(layout, point) as host:
        send(host, "PUT", "/v2/team/app/manifests/one", SAMPLE.content, SAMPLE.media_type)
    require_whole(layout)
    with hosting(layout) as host:
        for pin in ("one", SAMPLE.digest):
            found = host.ask("GET", f"/v2/team/app/manifests/{pin}").status == 200
            assert found == (point == "after the manifest is recorded")
        assert host.push("team/app", "one", SAMPLE).status == 201
    require_whole(layout)


def test_what_a_kill_left_of_uploads_is_dropped_in_time(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    with doomed(layout, "a chunk") as host:
        place = host.begin("team/app")
        send(host, "PATCH", place, CONTENT)
    assert any((layout.blobs / "uploads").iterdir())
    with hosting(layout, upload_seconds=0.0) as host:
        end = time.monotonic() + SECONDS
        while any((layout.blobs / "uploads").iterdir()) and time.monotonic() < end:
            time.sleep(0.02)
        assert host.ask("GET", place).status == 404
    assert not any((layout.blobs / "uploads").iterdir())
