"""Contexts that are not directories: a tar, a URL of one, a repository; unpacked as a layer is, by their content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from reconciler.build.archives import decompressed, is_archive
from reconciler.build.fetch import Fetching
from reconciler.build.steps import FromRemote
from runtime.images.layers import layer_tree
from runtime.images.making import Making
from schemas.dockerfile.remote import Remote, remote_of
from schemas.errors import Refused

IMAGE_PREFIXES = ("docker-image://", "image:")
_PIECE = 1 << 20


def local_directory(making: Making, fetching: Fetching, text: str) -> Path:
    """The directory of a context. Raises Refused, RetryLater."""
    kind = remote_of(text)
    store = making.store
    if kind is Remote.GIT:
        blob, _ = fetching.git_tar(text)
        return _unpacked(making, blob)
    if kind is Remote.HTTP:
        fetched = fetching.fetch(FromRemote(text, kind))
        if not is_archive(lambda: store.open(fetched.blob)):
            raise Refused("is no tar", object=text, step="open the context")
        return _unpacked(making, _plain(making, lambda: store.open(fetched.blob)))
    path = Path(text)
    if not path.is_file():
        return path
    if not is_archive(lambda: path.open("rb")):
        raise Refused("is neither a directory nor a tar", step="open the context", path=text)
    return _unpacked(making, _plain(making, lambda: path.open("rb")))


def _plain(making: Making, opened: Callable[[], BinaryIO]) -> str:
    with opened() as source, making.store.write() as writer:
        head = source.read(512)
        source.seek(0)
        with decompressed(source, head) as plain:
            while piece := plain.read(_PIECE):
                writer.write(piece)
        return writer.commit()


def _unpacked(making: Making, blob: str) -> Path:
    (layer,) = making.ensure_layers([making.layer(blob, blob)])
    return layer_tree(making.layout, layer.diff_id)
