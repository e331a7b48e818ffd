"""An image as it is sent: layers that are plain tars in the store are compressed, once, and remembered.

Called before an image is pushed. A layer that came compressed is sent as it came, so that its digest is the registry's.

Source: OCI image-spec 1.1, layer.md "+gzip Media Types", "+zstd Media Types".
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from isal import igzip_threaded

from runtime.images.blobs import BlobStore, BlobWriter
from runtime.images.chunked import Unfit, write_chunked
from runtime.images.found import Found, add_manifest, layer_descriptor
from runtime.images.layers import layer_path
from runtime.images.oci import OCI_LAYER, Descriptor
from runtime.layout import Layout

THREADS = min(4, os.cpu_count() or 1)
LEVEL = 2
"""isal's middle one: about as small as zlib's 4, ten times as fast."""
ZSTD_LEVEL = 3
GZIP, ZSTD, CHUNKED = "gzip", "zstd", "zstd:chunked"
KEPT = {GZIP: "gzip.json", ZSTD: "zstd.json", CHUNKED: "chunked.json"}
"""Beside a layer's tree: which blob it was compressed to."""
_PIECE = 1 << 20

Report = Callable[[str, int, int], None]
"""Digest of the layer, bytes of it done, bytes of it in all."""


def compressed(layout: Layout, store: BlobStore, found: Found, report: Report, kind: str = GZIP) -> Found:
    """The same image with every layer compressed; the very same where all are. Raises Refused, RetryLater."""
    layers = tuple(
        _compressed(layout, store, blob, diff_id, report, kind) if _is_plain(store, blob) else _Packed(blob.digest)
        for blob, diff_id in zip(found.manifest.layers, found.document.diff_ids, strict=True)
    )
    digests = tuple(layer.digest for layer in layers)
    if digests == tuple(blob.digest for blob in found.manifest.layers):
        return found
    told = {blob.digest: blob.annotations for blob in found.manifest.layers}
    told |= {layer.digest: layer.annotations for layer in layers if layer.annotations}
    return add_manifest(store, found.manifest.config.digest, digests, found.tags, told)


@dataclass(frozen=True, slots=True)
class _Packed:
    """A compressed layer, and what is to stand in its descriptor."""

    digest: str
    annotations: dict[str, str] = field(default_factory=dict)


def compressed_layer(layout: Layout, store: BlobStore, diff_id: str) -> Descriptor:
    """A layer whose plain tar is in the store, compressed. Raises FileNotFoundError, Refused, RetryLater."""
    blob = layer_descriptor(store, diff_id)
    return layer_descriptor(store, _compressed(layout, store, blob, diff_id, lambda _, done, total: None, GZIP).digest)


def _is_plain(store: BlobStore, blob: Descriptor) -> bool:
    return layer_descriptor(store, blob.digest).media_type == OCI_LAYER


def _compressed(layout: Layout, store: BlobStore, blob: Descriptor, diff_id: str, report: Report, kind: str) -> _Packed:
    kept = layer_path(layout, diff_id) / KEPT[kind]
    known = _read_kept(kept)
    if known and store.has(known.digest):
        return known
    try:
        made = _make(store, blob, report, kind)
    except Unfit:
        return _compressed(layout, store, blob, diff_id, report, ZSTD)
    _write_kept(kept, made)
    return made


def _make(store: BlobStore, blob: Descriptor, report: Report, kind: str) -> _Packed:
    """Raises Unfit."""
    with store.open(blob.digest) as source, store.write() as writer:
        if kind == CHUNKED:
            annotations = write_chunked(source, writer.write, lambda done: report(blob.digest, done, blob.size))
            return _Packed(writer.commit(), annotations)
        with _compressor(_Sink(writer), kind) as sink:
            done = 0
            while piece := source.read(_PIECE):
                sink.write(piece)
                done += len(piece)
                report(blob.digest, done, blob.size)
        return _Packed(writer.commit())


def _compressor(sink: _Sink, kind: str) -> IO[bytes]:
    """Equal layers give equal blobs: no name and no time in the header."""
    make: Any = igzip_threaded.open
    if kind == ZSTD:
        from backports import zstd

        return cast(IO[bytes], zstd.open(cast(Any, sink), "wb", level=ZSTD_LEVEL))
    return cast(IO[bytes], make(sink, "wb", compresslevel=LEVEL, threads=THREADS))


def _read_kept(path: Path) -> _Packed | None:
    try:
        said = json.loads(path.read_bytes())
        annotations = {str(name): str(value) for name, value in said.get("annotations", {}).items()}
        return _Packed(str(said["digest"]), annotations)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_kept(path: Path, made: _Packed) -> None:
    """Only remembered: a layer that was not unpacked has no place for it, and is compressed again."""
    try:
        path.write_text(json.dumps(asdict(made)))
    except OSError:
        return


class _Sink:
    """A blob's writer as the file that the compressor writes to."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer

    def write(self, piece: bytes) -> int:
        self._writer.write(piece)
        return len(piece)

    def flush(self) -> None:
        return

    def close(self) -> None:
        return
