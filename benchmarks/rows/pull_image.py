"""Pull and unpack of a large image from a registry on loopback, each time onto a fresh file system of the same kind.

A time is from the call until everything is unpacked and the file system is synced. trimtab is asked in a process that
is warm, as its daemon is; so is dockerd, which is started anew on each file system; podman and skopeo are programs,
whose start costs some 50 ms. Memory is that of trimtab's process and all it starts, of images 10 times apart in size.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.ground import Ground, run
from benchmarks.images import MEGABYTES, TITLE, fresh_ext4, make_layers, packed, synced
from benchmarks.mover import Mover, mover
from benchmarks.peers.docker import docker
from benchmarks.peers.docker import why_not as why_no_docker
from benchmarks.records import ABSENT, OURS, Row, Series, Target, absent
from benchmarks.timing import milliseconds, tell
from benchmarks.tree_memory import most_beyond
from tests.registry.distribution import docker_registry
from tests.registry.samples import push

PODMAN, SKOPEO, DOCKER = "podman", "skopeo", "docker"
SMALL = 48
"""Megabytes."""
MEMORY_MEGABYTES = 64.0


def measure(ground: Ground, rounds: int) -> list[Row]:
    title = f"Pull and unpack {TITLE}"
    if shutil.which("docker-registry") is None:
        return [Row("pull", title, "s", (Series(OURS, why_not="docker-registry is not installed"),))]
    tell("  making the image, and pushing it to docker-registry")
    scratch = ground.live / "pull"
    scratch.mkdir()
    with docker_registry(scratch / "registry") as address, mover() as ours:
        references = {}
        for name, megabytes in (("small", SMALL), ("bench", MEGABYTES)):
            push(address, name, "latest", packed(make_layers(megabytes * 1_000_000)))
            references[name] = f"{address.host}/{name}:latest"
        memory = peaks(ours, scratch, references)
        series = times(ground, ours, scratch, references["bench"], max(1, rounds // 2))
    return [
        Row("pull", title, "s", series, (Target(0.5, PODMAN), Target(0.3, DOCKER))),
        Row(
            "pull-memory",
            f"Most memory during that, beyond what there was ({SMALL} and {MEGABYTES} MB)",
            "MB",
            memory,
            (Target(MEMORY_MEGABYTES),),
        ),
    ]


def times(ground: Ground, ours: Mover, scratch: Path, reference: str, rounds: int) -> tuple[Series, ...]:
    """Each tool in turn, on a file system of its own."""
    missing = {name: ABSENT for name in (PODMAN, SKOPEO) if shutil.which(name) is None}
    missing |= {DOCKER: why} if (why := why_no_docker()) else {}
    taken: dict[str, list[float]] = {tool: [] for tool in (OURS, PODMAN, SKOPEO, DOCKER) if tool not in missing}
    for number in range(rounds):
        for tool, seconds in taken.items():
            seconds.append(of_one(ground, ours, scratch, tool, reference))
            tell(f"  round {number + 1}: {tool} {seconds[-1]:.2f} s")
    return (*(Series(tool, tuple(seconds)) for tool, seconds in taken.items()), *absent(missing.items()))


def of_one(ground: Ground, ours: Mover, scratch: Path, tool: str, reference: str) -> float:
    """Seconds of one pull."""
    with fresh_ext4(scratch) as disk:
        run("sync")
        match tool:
            case "trimtab":
                return seconds_of(lambda: ours.pull(disk, reference), disk)
            case "docker":
                with docker(ground, "docker-pull", disk) as found:
                    assert found is not None
                    return seconds_of(lambda: found("pull", "--quiet", reference, seconds=600), disk)
            case "podman":
                places = ("--root", f"{disk}/root", "--runroot", f"{disk}/run", "--storage-driver", "overlay")
                command: tuple[str, ...] = ("podman", *places, "pull", "--quiet", "--tls-verify=false", reference)
            case _:
                storage = f"containers-storage:[overlay@{disk}/root+{disk}/run]{reference}"
                command = ("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{reference}", storage)
        return seconds_of(lambda: run(*command, seconds=600), disk)


def seconds_of(pull: Callable[[], object], disk: Path) -> float:
    return milliseconds(synced(pull, disk)) / 1000


def peaks(ours: Mover, scratch: Path, references: Mapping[str, str]) -> tuple[Series, ...]:
    """The first pull is not counted: it brings what a daemon has loaded after its first."""
    found = []
    for number, name in enumerate(("small", "small", "bench")):
        with fresh_ext4(scratch) as disk:
            most = most_beyond(ours.pid, partial(ours.pull, disk, references[name]))
        if number:
            found.append(Series(OURS if name == "bench" else f"{OURS}, {SMALL} MB", (most,)))
    return tuple(reversed(found))
