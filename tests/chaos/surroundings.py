"""What an engine of a storm stands on: a disk of its own, which can be filled, and a wall clock that can be moved."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cli.engine import CODE, Engine

DISK = 96 << 20
CLOCK = Path(__file__).parent / "clock"


@contextlib.contextmanager
def small_disk(engine: Engine) -> Iterator[None]:
    """An ext4 of DISK bytes is the engine's root; an engine that is closed has taken it off."""
    image, root = engine.base / "disk", engine.layout.root
    with image.open("wb") as file:
        file.truncate(DISK)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    root.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(root)], check=True)
    yield


@contextlib.contextmanager
def full(engine: Engine) -> Iterator[None]:
    """The engine's disk, without a byte that is free."""
    ballast = engine.layout.root / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        assert os.statvfs(engine.layout.root).f_bavail < 16
        yield
    finally:
        ballast.unlink(missing_ok=True)


def moved_clock(engine: Engine) -> Path:
    """The file that says by how many seconds the wall clock of every program of the engine is moved."""
    file = engine.base / "clock"
    file.write_text("0")
    engine.environment |= {"PYTHONPATH": f"{CLOCK}:{CODE}", "CLOCK_FILE": str(file)}
    return file
