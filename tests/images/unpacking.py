"""Unpack archive bytes in this process, without the child's changed root: what holds here, the extractor alone does."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.images.extract import Extractor
from runtime.images.limits import Limits
from runtime.images.tarheader import padding
from runtime.images.tarstream import TarStream
from runtime.images.untar import Entry, read_entries, stored_size


def extract(content: bytes, place: Path, limits: Limits | None = None) -> Extractor:
    """Unpack into `place/tree`, which is made; the extractor tells what it saw. Raises Unsound."""
    limits = limits or Limits()
    tree = place / "tree"
    tree.mkdir()
    (place / "content").write_bytes(content)
    blob = os.open(place / "content", os.O_RDONLY)
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    stream = TarStream(blob, limits)
    extractor = Extractor(root, limits)
    umask = os.umask(0)
    here = Path.cwd()
    try:
        extractor.extract(read_entries(stream, limits), stream)
        stream.finish()
    finally:
        os.chdir(here)
        os.umask(umask)
        stream.close()
        os.close(root)
        os.close(blob)
    return extractor


def entries_of(content: bytes, place: Path, limits: Limits | None = None) -> list[Entry]:
    """What the reader makes of the bytes; contents are passed over."""
    (place / "content").write_bytes(content)
    fd = os.open(place / "content", os.O_RDONLY)
    stream = TarStream(fd, limits or Limits())
    try:
        found = []
        for entry in read_entries(stream, limits or Limits()):
            found.append(entry)
            size = stored_size(entry)
            stream.skip(size + padding(size))
        return found
    finally:
        stream.close()
        os.close(fd)
