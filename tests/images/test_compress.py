"""Layers as they are pushed: by gzip in several threads, by zstd; the same bytes each time."""

from __future__ import annotations

import gzip
import threading
import zlib
from pathlib import Path

import pytest

from runtime.images import compress
from runtime.images.blobs import BlobStore
from runtime.images.compress import GZIP, ZSTD, compressed
from runtime.images.config import ImageConfig
from runtime.images.ensure import ensure_image
from runtime.images.found import Found, read_found
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from tests.registry.samples import noise

CONTENT = noise(300_000).hex().encode() * 20
"""12 MB that compress at least twofold."""


@pytest.fixture
def found(layout: Layout, tmp_path: Path) -> Found:
    """An image of one plain layer."""
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    (rootfs / "file").write_bytes(CONTENT)
    record = ensure_image(layout, ImageWanted("made", rootfs=rootfs, config=ImageConfig()))
    return read_found(BlobStore(layout), record.digest)


def layer_of(layout: Layout, found: Found) -> bytes:
    return BlobStore(layout).path(found.manifest.layers[0].digest).read_bytes()


@pytest.mark.kernel
def test_gzip_is_made_in_several_threads_and_read_by_any(
    layout: Layout, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, "THREADS", 3)
    before, most = set(threading.enumerate()), 0

    def report(digest: str, done: int, total: int) -> None:
        nonlocal most
        most = max(most, len(set(threading.enumerate()) - before))

    made = compressed(layout, BlobStore(layout), found, report)
    assert most >= 3
    packed, plain = layer_of(layout, made), layer_of(layout, found)
    assert gzip.decompress(packed) == plain
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    # one member: there are readers that stop after the first
    assert reader.decompress(packed) == plain and reader.unused_data == b""
    assert len(packed) < len(plain) * 0.7


@pytest.mark.kernel
@pytest.mark.parametrize("kind", [GZIP, ZSTD])
def test_a_layer_is_compressed_once_and_to_the_same_bytes_again(layout: Layout, found: Found, kind: str) -> None:
    store = BlobStore(layout)
    first = compressed(layout, store, found, lambda *_: None, kind)
    told: list[int] = []
    again = compressed(layout, store, found, lambda digest, done, total: told.append(done), kind)
    assert again.digest == first.digest and told == []
    store.delete(first.manifest.layers[0].digest)
    anew = compressed(layout, store, found, lambda *_: None, kind)
    assert anew.digest == first.digest
