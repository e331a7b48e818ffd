"""A full build of a Debian image in three stages, with apt, nothing cached. A cold process each time.

Packages come from the mirror that this machine's apt uses, so both tools run in the network that the benchmarks were
started from; what the mirror takes is part of both. Debian itself is made by debootstrap beforehand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from benchmarks.commands import PROGRAM, environment
from benchmarks.engine import own_engine
from benchmarks.ground import Ground
from benchmarks.records import ABSENT, OURS, Row, Series, Target, absent
from benchmarks.rows.build_image import BUILDAH, Build, whole
from benchmarks.timing import take_turns, tell
from runtime.process import client

SECONDS = 1200
SUITE = "bookworm"
DOCKERFILE = """\
FROM debian AS tools
RUN apt-get update -q && apt-get install -qy --no-install-recommends make
FROM tools AS compile
COPY src /src
RUN make -C /src
FROM debian
RUN apt-get update -q && apt-get install -qy --no-install-recommends less
COPY --from=compile /src/made /srv/made
CMD ["less", "/srv/made"]
"""
TITLE = "Build of a Debian image in three stages, with apt, nothing cached"


def measure(ground: Ground, rounds: int) -> list[Row]:
    buildah, mirror = shutil.which(BUILDAH), mirror_of(Path("/etc/apt"))
    if shutil.which("debootstrap") is None or mirror is None:
        why = "no debootstrap, or no mirror of Debian"
        return [row([Series(OURS, why_not=why), Series(BUILDAH, why_not=why)])]
    outside = ["nsenter", f"--net=/proc/{os.getppid()}/ns/net"]
    tell("  making Debian with debootstrap")
    tree, tar, context = ground.disk / "debian", ground.disk / "debian.tar", ground.disk / "three-stages"
    run([*outside, "debootstrap", "--variant=minbase", SUITE, str(tree), mirror])
    run(["tar", "-C", str(tree), "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "-cf", str(tar), "."])
    make_context(context)
    with own_engine(ground) as ours:
        # the next one is started in the network of whoever asks for it, which RUN has by --network=host
        client.stop_launcher(ours.layout)
        command = [*outside, str(PROGRAM), "--root", str(ours.layout.root), "--run", str(ours.layout.run), "image"]
        run([*command, "import", "--quiet", "debian", str(tar)])
        build = [*command, "build", "-q", "--network=host", "-t", "bench"]
        builders: dict[str, Build] = {OURS: lambda *words: run([*build, *words, str(context)])}
        if buildah:
            builders[BUILDAH] = with_buildah(ground, [*outside, buildah], tar, context)
        series = take_turns({tool: whole(each) for tool, each in builders.items()}, max(1, rounds // 2))
    return [row([*series, *absent([] if buildah else [(BUILDAH, ABSENT)])])]


def row(series: list[Series]) -> Row:
    return Row("build-debian", TITLE, "ms", tuple(series), (Target(1.0, BUILDAH),))


def mirror_of(directory: Path) -> str | None:
    """The first archive of Debian's that apt asks, in either of its formats."""
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    for file in files:
        text = file.read_text() if file.is_file() else ""
        found = re.search(r"^(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(https?://\S+/debian)/?\s*", text, re.MULTILINE)
        if found:
            return found[1]
    return None


def make_context(context: Path) -> None:
    (context / "src").mkdir(parents=True)
    (context / "src/Makefile").write_text("made:\n\tseq 100000 >made\n")
    (context / "Dockerfile").write_text(DOCKERFILE)


def with_buildah(ground: Ground, program: list[str], tar: Path, context: Path) -> Build:
    disk, live = ground.directory(BUILDAH)
    command = [*program, "--root", str(disk), "--runroot", str(live)]
    bare = live / "bare"
    bare.mkdir()
    (bare / "Dockerfile").write_text("FROM scratch\nADD debian.tar /\n")
    shutil.copy(tar, bare)
    run([*command, "bud", "-q", "-t", "debian", str(bare)])
    shutil.rmtree(bare)
    build = [*command, "bud", "-q", "--layers", "--isolation", "chroot", "--network=host", "-t", "bench"]
    return lambda *words: run([*build, *words, str(context)])


def run(command: list[str]) -> None:
    """Raises RuntimeError with what it said."""
    done = subprocess.run(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} … {command[-1]}: {done.stderr.strip()[-2000:] or done.returncode}")
