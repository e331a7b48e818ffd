"""The C floor, compiled on the spot: one process that makes a container for each byte it is sent (`floor.c`)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmarks.ground import Ground, run
from benchmarks.timing import Sample

SOURCE = Path(__file__).with_name("floor.c")
PLAIN, WITH_NETWORK = "C floor", "C floor, network namespace"


@contextmanager
def floor(ground: Ground) -> Iterator[dict[str, Sample]]:
    """Samples in milliseconds, by name; none without a C compiler."""
    if shutil.which("gcc") is None:
        yield {}
        return
    disk, _ = ground.directory("floor")
    program = disk / "floor"
    run("gcc", "-O2", "-o", str(program), str(SOURCE))
    command = [str(program), str(ground.tree), str(disk)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        writer, reader = process.stdin, process.stdout
        yield {PLAIN: lambda: ask(writer, reader, b"p"), WITH_NETWORK: lambda: ask(writer, reader, b"n")}


def ask(writer: IO[bytes], reader: IO[bytes], kind: bytes) -> float:
    writer.write(kind)
    writer.flush()
    line = reader.readline()
    if not line:
        raise RuntimeError("the floor program has ended; what it said is above")
    return int(line) / 1e6
