"""Which code a server runs: a checksum of this package's sources, so an upgraded engine notices an older server."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path


@cache
def code_version() -> str:
    """Of the code this process runs: eight hexadecimal digits that change with any line of the server."""
    return read_code_version()


def read_code_version() -> str:
    """Of the code on disk, which a server that is started now will run."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return f"{zlib.crc32(b''.join(source.read_bytes() for source in sources)):08x}"
