"""Push of a large image to a registry on loopback that has nothing yet: layers compressed, hashed, sent.

The image is loaded from an archive beforehand, as `docker save` writes it, so that its layers are plain and every tool
has to compress them. In each round every tool has a file system and a registry of its own, both empty.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.ground import Ground, run
from benchmarks.images import TITLE, fresh_ext4, make_layers, write_archive
from benchmarks.mover import Mover, mover
from benchmarks.peers.docker import docker
from benchmarks.peers.docker import why_not as why_no_docker
from benchmarks.records import ABSENT, OURS, Row, Series, Target, absent
from benchmarks.timing import milliseconds, tell
from tests.registry.distribution import docker_registry

PODMAN, DOCKER = "podman", "docker"
NAME = "bench.invalid/bench:latest"


def measure(ground: Ground, rounds: int) -> list[Row]:
    title = f"Push of {TITLE}, none of it there or compressed yet"
    if shutil.which("docker-registry") is None:
        return [Row("push", title, "s", (Series(OURS, why_not="docker-registry is not installed"),))]
    missing = {} if shutil.which(PODMAN) else {PODMAN: ABSENT}
    missing |= {DOCKER: why} if (why := why_no_docker()) else {}
    taken: dict[str, list[float]] = {tool: [] for tool in (OURS, PODMAN, DOCKER) if tool not in missing}
    scratch = ground.live / "push"
    scratch.mkdir()
    tell("  making the archive of an image")
    write_archive(make_layers(), NAME, scratch / "image.tar")
    with mover() as ours:
        for number in range(max(1, rounds // 2)):
            for tool, seconds in taken.items():
                seconds.append(of_one(ground, ours, scratch, tool))
                tell(f"  round {number + 1}: {tool} {seconds[-1]:.2f} s")
    series = (*(Series(tool, tuple(seconds)) for tool, seconds in taken.items()), *absent(missing.items()))
    return [Row("push", title, "s", series, (Target(0.7, DOCKER),))]


def of_one(ground: Ground, ours: Mover, scratch: Path, tool: str) -> float:
    """Seconds of one push; loading before it does not count."""
    archive, registry = scratch / "image.tar", scratch / "registry"
    try:
        with fresh_ext4(scratch) as disk, docker_registry(registry) as address:
            reference = f"{address.host}/bench:latest"
            match tool:
                case "trimtab":
                    ours.load(disk, archive)
                    run("sync")
                    return milliseconds(lambda: ours.push(disk, reference)) / 1000
                case "docker":
                    with docker(ground, "docker-push", disk) as found:
                        assert found is not None
                        found("load", "--quiet", "--input", str(archive), seconds=600)
                        found("tag", NAME, reference)
                        run("sync")
                        return milliseconds(lambda: found("push", "--quiet", reference, seconds=600)) / 1000
                case _:
                    command = (
                        "podman",
                        "--root",
                        f"{disk}/root",
                        "--runroot",
                        f"{disk}/run",
                        "--storage-driver=overlay",
                    )
                    run(*command, "load", "--quiet", "--input", str(archive), seconds=600)
                    run("sync")
                    push = (*command, "push", "--quiet", "--tls-verify=false", NAME, f"docker://{reference}")
                    return milliseconds(lambda: run(*push, seconds=600)) / 1000
    finally:
        shutil.rmtree(registry)
