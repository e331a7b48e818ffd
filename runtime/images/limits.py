"""How much one layer may hold: what a decompression bomb, or a mistake, runs into. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one layer. Real ones stay far below: a kernel's source tree has 90,000 entries."""

    bytes: int = 64 * GIB
    """Of the uncompressed tar."""
    entries: int = 4_000_000
    directories: int = 250_000
    """Their times are set last, so they are held in memory: about 250 bytes each."""
    ratio: int = 250
    """Uncompressed to compressed, from `ratio_from` uncompressed bytes on; gzip itself cannot exceed 1,032."""
    ratio_from: int = 256 * MIB
    depth: int = 256
    """Components of a path."""
    path: int = 4095
    """Bytes of a path and of a link's target: PATH_MAX less its NUL."""
    extended_header: int = 1 * MIB
    """Bytes of one pax or GNU extended header, and of a sparse map."""
    device_nodes: bool = False
    """Whether device nodes are made beside the harmless ones that every container has anyway (null, zero, tty, ...)."""
