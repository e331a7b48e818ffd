"""Thirty containers on a network of their own, by one `apply` and one `delete`. Against `docker compose up` and `down`.

Each container ends when it is asked to, so that no stop waits for its grace period. Ours twice: through the engine's
API in a process that has it loaded, as a daemon has, and by the commands, interpreter and imports included.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.commands import trimtab
from benchmarks.engine import Ours, container, network, own_engine
from benchmarks.ground import Ground
from benchmarks.peers import docker as docker_peer
from benchmarks.peers.compose import PROJECT, Compose, StandIn, find_compose
from benchmarks.records import OURS, Row, Series, Target, absent
from benchmarks.timing import milliseconds, tell

COUNT = 30
COMMAND = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
NAMES = [f"c{number}" for number in range(COUNT)]
COLD = "trimtab apply, delete (commands)"


def measure(ground: Ground, rounds: int) -> list[Row]:
    ups: dict[str, list[float]] = {OURS: [], COLD: []}
    downs: dict[str, list[float]] = {OURS: [], COLD: []}
    with own_engine(ground) as ours, docker_peer.docker(ground) as docker:
        compose = peer(docker, ground) if docker is not None else None
        file = compose_file(ground.live)
        for number in range(rounds + 1):
            tell(f"  30 containers, round {number} of {rounds}")
            found = [(OURS, *both_ways(ours)), (COLD, *both_commands(ours, ground.live))]
            if compose is not None:
                found.append((compose.name, *both_composed(compose, file)))
            for tool, up, down in found if number else ():
                ups.setdefault(tool, []).append(up)
                downs.setdefault(tool, []).append(down)
    name = compose.name if compose else "docker compose"
    return [
        make_row("apply", f"{COUNT} containers with a network: apply", ups, name, 0.1),
        make_row("delete", f"{COUNT} containers with a network: delete", downs, name, 0.2),
    ]


def peer(docker: docker_peer.Docker, ground: Ground) -> Compose | StandIn:
    docker_peer.import_busybox(docker, ground.tree)
    return find_compose(docker) or StandIn(docker, NAMES, COMMAND)


def make_row(name: str, title: str, times: dict[str, list[float]], against: str, limit: float) -> Row:
    series = [Series(tool, tuple(values)) for tool, values in times.items()]
    missing = [] if against in times else [(against, docker_peer.why_not())]
    return Row(name, title, "ms", (*series, *absent(missing)), (Target(limit, against),))


def manifests() -> str:
    command = [word.replace("$", "$$") for word in COMMAND]
    return network("fleet") + "".join(container(name, command, "networks: [fleet]") for name in NAMES)


def both_ways(ours: Ours) -> tuple[float, float]:
    text = manifests()
    return milliseconds(lambda: ours.apply(text, "fleet")), milliseconds(lambda: ours.delete("fleet"))


def both_commands(ours: Ours, scratch: Path) -> tuple[float, float]:
    file = scratch / "fleet.yaml"
    file.write_text(manifests())
    up = milliseconds(lambda: trimtab(ours.layout, "apply", "--set", "fleet", str(file)))
    return up, milliseconds(lambda: trimtab(ours.layout, "delete", "--set", "fleet"))


def both_composed(compose: Compose | StandIn, file: Path) -> tuple[float, float]:
    return milliseconds(lambda: compose.up(file)), milliseconds(lambda: compose.down(file))


def compose_file(scratch: Path) -> Path:
    """The same, for Compose: JSON is YAML."""
    service = {"image": "busybox", "command": list(COMMAND), "mem_limit": "64m", "cpus": 1.0, "pids_limit": 64}
    services = {name: {**service, "networks": ["fleet"]} for name in NAMES}
    file = scratch / f"{PROJECT}.yaml"
    file.write_text(json.dumps({"version": "2.4", "services": services, "networks": {"fleet": {}}}))
    return file
