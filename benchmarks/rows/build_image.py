"""Builds over a large context: everything done, nothing changed, one file of many changed. A cold process each time.

The Dockerfile copies the whole context in one layer, and a small part of it in another: with one file of that part
changed only the small one is made again. Peers: Debian's docker with its classic builder, and buildah with --layers.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.commands import trimtab
from benchmarks.engine import own_engine
from benchmarks.ground import Ground
from benchmarks.peers.docker import docker, import_busybox
from benchmarks.peers.docker import why_not as why_no_docker
from benchmarks.records import ABSENT, OURS, Row, Series, Target, absent
from benchmarks.timing import Sample, milliseconds, take_turns, tell
from reconciler.build.contexts import open_context
from runtime.layout import Layout

FILES, DIRECTORIES, MEGABYTES = 20_000, 200, 480
DOCKERFILE = """\
FROM busybox
COPY big /big
RUN ls /big > /list
COPY small /small
CMD ["true"]
"""
BUILDAH = "buildah"
Build = Callable[..., object]


def measure(ground: Ground, rounds: int) -> list[Row]:
    tell(f"  making a context of {FILES:,} files")
    context = ground.disk / "context"
    make_context(context)
    rounds = max(1, rounds // 2)
    buildah = shutil.which(BUILDAH)
    with own_engine(ground) as ours, docker(ground) as found:
        builders: dict[str, Build] = {
            OURS: lambda *words: trimtab(ours.layout, "image", "build", "-q", "-t", "bench", *words, str(context))
        }
        if found is not None:
            import_busybox(found, ground.tree)
            builders["docker"] = lambda *words: found("build", "-q", "-t", "bench", *words, str(context), seconds=600)
        if buildah:
            builders[BUILDAH] = with_buildah(ground, buildah, context)
        full = take_turns({tool: whole(build) for tool, build in builders.items()}, rounds)
        same = take_turns({tool: whole(build, ()) for tool, build in builders.items()}, rounds)
        one = take_turns(changed(builders, context), rounds)
        scan = take_turns({OURS: lambda: scanned(ours.layout, context)}, rounds)
    missing = absent(
        [*([] if buildah else [(BUILDAH, ABSENT)]), *([] if found is not None else [("docker", why_no_docker())])]
    )
    size = f"{MEGABYTES} MB, {FILES:,} files"
    return [
        row("build-full", f"Build of a context of {size}, nothing cached", full, missing, Target(1.0, "docker")),
        row(
            "build-same",
            f"Build again, nothing changed of {size}",
            same,
            missing,
            Target(0.5, "docker"),
            Target(0.5, BUILDAH),
            Target(1000),
        ),
        row("build-one", f"Build again, one small file changed of {size}", one, missing, Target(0.5, "docker")),
        row("build-scan", f"Scan of a context, one file changed of {size}", scan, [], Target(300)),
    ]


def row(name: str, title: str, series: list[Series], missing: list[Series], *targets: Target) -> Row:
    return Row(name, title, "ms", (*series, *missing), targets)


def make_context(context: Path) -> None:
    """The same bytes each time, which do not compress."""
    shutil.rmtree(context, ignore_errors=True)
    noise = random.Random(4)
    each = MEGABYTES * 1_000_000 // FILES
    for directory in range(DIRECTORIES):
        place = context / "big" / f"d{directory:03d}"
        place.mkdir(parents=True)
        for number in range(FILES // DIRECTORIES):
            (place / f"f{number:03d}").write_bytes(noise.randbytes(each))
    (context / "small").mkdir()
    (context / "small/one").write_text("0")
    (context / "Dockerfile").write_text(DOCKERFILE)
    os.sync()


def whole(build: Build, words: tuple[str, ...] = ("--no-cache",)) -> Sample:
    return lambda: milliseconds(lambda: build(*words))


def changed(builders: Mapping[str, Build], context: Path) -> dict[str, Sample]:
    count = itertools.count(1)

    def sample(build: Build) -> Sample:
        def once() -> float:
            (context / "small/one").write_text(str(next(count)))
            return milliseconds(build)

        return once

    return {tool: sample(build) for tool, build in builders.items()}


def scanned(layout: Layout, context: Path) -> float:
    """Walked, and the file that changed digested, as a build does it: what was digested before is remembered."""
    (context / "small/one").write_text(str(time.monotonic()))

    def scan() -> None:
        with open_context(layout, "", context, None) as opened:
            opened.digest((".",), (), parents=False)
            opened.remember()

    return milliseconds(scan)


def with_buildah(ground: Ground, program: str, context: Path) -> Build:
    """With a store of the run's own, and the same busybox."""
    disk, live = ground.directory(BUILDAH)
    command = [program, "--root", str(disk), "--runroot", str(live)]

    def run(*words: str) -> None:
        subprocess.run([*command, *words], check=True, capture_output=True, timeout=600)

    with subprocess.Popen(["tar", "-C", str(ground.tree), "-c", "."], stdout=subprocess.PIPE) as tar:
        (live / "Dockerfile").write_text("FROM scratch\nADD busybox.tar /\nENV PATH=/bin\n")
        with (live / "busybox.tar").open("wb") as file:
            assert tar.stdout is not None
            shutil.copyfileobj(tar.stdout, file)
    run("bud", "-q", "-t", "busybox", str(live))
    return lambda *words: run("bud", "-q", "--layers", "--isolation", "chroot", "-t", "bench", *words, str(context))
