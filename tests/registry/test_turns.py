"""Several pulls at once: what one brings, the others do not fetch; and a pull that is ended lets go of everything."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from runtime.images.blobs import BlobStore, partial_name
from runtime.images.registry.pull import Pulled
from runtime.images.registry.turns import turn
from runtime.layout import Layout
from tests.registry.conftest import Pull
from tests.registry.fake import Answer, Asked, Fake, send_blob
from tests.registry.samples import digest_of, image, layer_tar, noise

DIGEST = digest_of(b"some blob")


def slowly(blob: bytes, started: threading.Event) -> Answer:
    """The blob in 20 pieces over half a second."""

    def answer(asked: Asked) -> None:
        asked.start(200, len(blob))
        started.set()
        step = len(blob) // 20 + 1
        for first in range(0, len(blob), step):
            asked.wfile.write(blob[first : first + step])
            time.sleep(0.025)

    return answer


def test_two_pulls_at_once_fetch_each_blob_once(fake: Fake, pull_from: Pull) -> None:
    sample = fake.hold(image(layer_tar({"noise": noise(3_000_000)})))
    fake.script(sample.largest, slowly(sample.blobs[sample.largest], threading.Event()))
    results: list[Pulled] = []
    pulls = [threading.Thread(target=lambda: results.append(pull_from(fake.host, "app:latest"))) for _ in range(3)]
    for one in pulls:
        one.start()
    for one in pulls:
        one.join(30)
    assert {one.digest for one in results} == {sample.digest}
    assert len(results) == 3
    assert {digest: len(fake.asked(digest)) for digest in sample.blobs} == dict.fromkeys(sample.blobs, 1)


def test_a_holder_that_brings_nothing_is_not_waited_for(layout: Layout) -> None:
    store = BlobStore(layout)

    async def wait() -> float:
        async with turn(store, DIGEST, 0.2):
            started = time.monotonic()
            async with turn(store, DIGEST, 0.2):
                return time.monotonic() - started

    assert 0.2 <= asyncio.run(wait()) < 2
    assert list((layout.blobs / "turns").iterdir()) == []


def test_a_holder_that_brings_bytes_is_waited_for(layout: Layout) -> None:
    store = BlobStore(layout)

    async def bring() -> None:
        async with turn(store, DIGEST, 0.2):
            with store.write(DIGEST, 100) as writer:
                for _ in range(8):
                    writer.write(b"x")
                    await asyncio.sleep(0.1)

    async def wait() -> float:
        started = time.monotonic()
        bringing = asyncio.create_task(bring())
        await asyncio.sleep(0)
        async with turn(store, DIGEST, 0.2):
            waited = time.monotonic() - started
        await bringing
        return waited

    assert asyncio.run(wait()) >= 0.75


def test_the_turn_of_a_dead_process_is_free(layout: Layout) -> None:
    store = BlobStore(layout)
    path = layout.blobs / "turns" / partial_name(DIGEST)
    path.parent.mkdir(parents=True)
    holder = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    os.close(holder)

    async def take() -> None:
        async with turn(store, DIGEST, 0.1):
            pass

    asyncio.run(take())


PROGRAM = """
import sys
from pathlib import Path
from runtime.images.blobs import BlobStore
from runtime.images.platforms import Platform
from runtime.images.progress import ignore
from runtime.images.registry.pull import pull
from runtime.images.registry.settings import RegistrySettings, HostSettings
from runtime.layout import Layout
from schemas.reference import Reference

root, host = sys.argv[1:]
settings = RegistrySettings(registries={host: HostSettings(insecure=True)}, docker_config=Path("/nonexistent"))
pull(
    BlobStore(Layout(Path(root), Path(root))),
    Reference.parse(f"{host}/app:latest"),
    settings=settings,
    platform=Platform("linux", "amd64"),
    progress=ignore,
)
"""


def pulling(layout: Layout, host: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(layout.root), host], stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_pull_that_is_ended_midway_is_resumed_by_the_next(
    how: signal.Signals, fake: Fake, layout: Layout, pull_from: Pull
) -> None:
    sample = fake.hold(image(layer_tar({"noise": noise(8_000_000)})))
    blob = sample.blobs[sample.largest]
    arrived = threading.Event()

    def half(asked: Asked) -> None:
        asked.start(200, len(blob))
        asked.wfile.write(blob[:4_000_000])
        arrived.set()
        asked.fake.ended.wait(20)
        asked.cut()

    fake.script(sample.largest, half)
    partial = layout.blobs / "partial" / partial_name(sample.largest)
    child = pulling(layout, fake.host)
    try:
        assert arrived.wait(20)
        wait_until(lambda: partial.exists() and partial.stat().st_size >= 3 << 20)
        child.send_signal(how)
        _, said = child.communicate(timeout=10)
    finally:
        child.kill()
        child.wait()
    assert child.returncode != 0
    assert "never retrieved" not in said

    size = partial.stat().st_size
    fake.seen.clear()
    assert pull_from(fake.host, "app:latest").digest == sample.digest
    assert [one.range for one in fake.asked(sample.largest)] == [f"bytes={size}-"]
    assert list(BlobStore(layout).partials()) == []


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_memory_does_not_grow_with_a_layer(fake: Fake, layout: Layout) -> None:
    """200 MB of layer through a process whose peak stays far below them."""
    block = noise(1 << 20)
    blob = block * 200
    sample = fake.hold(image(layer_tar({"a": b"1"})))
    fake.blobs[digest_of(blob)] = blob
    manifest = sample.content.replace(sample.largest.encode(), digest_of(blob).encode())
    size = len(sample.blobs[sample.largest])
    manifest = manifest.replace(f'"size": {size}}}]'.encode(), f'"size": {len(blob)}}}]'.encode())
    fake.manifests["latest"] = (manifest, sample.media_type)
    fake.script(digest_of(blob), lambda asked: send_blob(asked, blob))
    program = PROGRAM + "\nprint(Path('/proc/self/status').read_text())\n"
    done = subprocess.run(
        [sys.executable, "-c", program, str(layout.root), fake.host], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert BlobStore(layout).has(digest_of(blob), len(blob))
    peak = next(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    assert peak < 110 * 1024
