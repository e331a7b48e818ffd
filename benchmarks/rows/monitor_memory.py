"""What a running container costs beyond its own processes: memory of the process that watches it.

Proportional set size (PSS, proc(5)) of the monitor; beside it, in the note, the launcher that all monitors share pages
with. For the peers: containerd's shim and podman's conmon.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.engine import Ours, container, own_engine
from benchmarks.ground import Ground
from benchmarks.peers import docker as docker_peer
from benchmarks.peers import podman as podman_peer
from benchmarks.peers.processes import own_processes
from benchmarks.records import OURS, Row, Series, Target, absent
from benchmarks.tree_memory import pss
from runtime.process import client

COUNT = 30
SHIM, CONMON = "containerd-shim", "conmon"
COMMAND = ("sleep", "1000000")


def measure(ground: Ground, rounds: int) -> list[Row]:
    own, launcher = of_monitors(ground)
    shims = of_shims(ground)
    conmons = of_conmons(ground)
    series = [Series(tool, found) for tool, found in ((OURS, own), (SHIM, shims), (CONMON, conmons)) if found]
    missing = [(SHIM, docker_peer.why_not())] if not shims else []
    missing += [(CONMON, podman_peer.why_not())] if not conmons else []
    return [
        Row(
            "memory",
            f"Memory per running container (of {COUNT}): PSS of its monitor",
            "MB",
            (*series, *absent(missing)),
            (Target(1.0),),
            f"trimtab's launcher, one per engine: {launcher:.1f} MB.",
        )
    ]


def of_all(pids: Iterable[int]) -> tuple[float, ...]:
    return tuple(map(pss, pids))


def of_monitors(ground: Ground) -> tuple[tuple[float, ...], float]:
    """Of each monitor, and of the launcher."""
    with own_engine(ground) as ours:
        names = [f"c{number}" for number in range(COUNT)]
        ours.apply("".join(container(name, COMMAND, "network_mode: none", "stop_signal: SIGKILL") for name in names))
        return of_all(monitor(ours, name) for name in names), pss(client.ensure_launcher(ours.layout))


def monitor(ours: Ours, name: str) -> int:
    found = client.read_process(ours.layout, name)
    assert found is not None
    return found.monitor_pid


def of_shims(ground: Ground) -> tuple[float, ...]:
    with docker_peer.docker(ground) as docker:
        if docker is None:
            return ()
        docker_peer.import_busybox(docker, ground.tree)
        for number in range(COUNT):
            docker("run", "-d", "--name", f"c{number}", "--network", "none", "busybox", *COMMAND)
        found = of_all(own_processes("containerd-shim-runc-v2"))
        docker("rm", "-f", *(f"c{number}" for number in range(COUNT)))
        return found


def of_conmons(ground: Ground) -> tuple[float, ...]:
    with podman_peer.podman(ground) as podman:
        if podman is None:
            return ()
        for number in range(COUNT):
            podman("run", "-d", "--name", f"c{number}", "--network", "none", *podman.run_options(), "busybox", *COMMAND)
        return of_all(own_processes("conmon"))
