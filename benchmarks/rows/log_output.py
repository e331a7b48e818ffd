"""A container that writes as fast as it can, in lines of 100 bytes: what its log takes per second, and what that costs.

A container's output waits for whoever keeps it, so a fast writer measures its log: bytes written over the time until
the container has ended and its log is whole. The last line must be there. Logs rotate at the same size everywhere. The
note says how much memory the monitor has used at most.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.engine import Ours, container, own_engine
from benchmarks.ground import Ground
from benchmarks.peers import docker as docker_peer
from benchmarks.peers import podman as podman_peer
from benchmarks.records import OURS, Row, Target, absent
from benchmarks.timing import Sample, take_turns
from runtime.process import client
from runtime.process.logs import read_logs

REPEATS, BLOCK_LINES, LINE = 400, 10_000, "x" * 99 + "\n"
MEGABYTES = REPEATS * BLOCK_LINES * len(LINE) / 1e6
LAST = "the last line"
COMMAND = ("sh", "-c", f"n=0; while [ $n -lt {REPEATS} ]; do cat /data/block; n=$((n+1)); done; echo {LAST}")
NAME = "writer"
JSON_FILE, DOCKER = "trimtab, json-file", "docker, json-file"
PODMAN = "podman, k8s-file"


def measure(ground: Ground, rounds: int) -> list[Row]:
    block = ground.live / "data"
    block.mkdir(exist_ok=True)
    (block / "block").write_text(LINE * BLOCK_LINES)
    peaks: list[float] = []
    with own_engine(ground) as ours, docker_peer.docker(ground) as docker, podman_peer.podman(ground) as podman:
        samples: dict[str, Sample] = {
            OURS: lambda: own(ours, block, "local", peaks),
            JSON_FILE: lambda: own(ours, block, "json-file", peaks),
        }
        if docker is not None:
            docker_peer.import_busybox(docker, ground.tree)
            samples[DOCKER] = lambda: by_docker(docker, block)
        if podman is not None:
            samples[PODMAN] = lambda: by_podman(podman, block)
        series = take_turns(samples, max(1, rounds // 2))
    missing = [(DOCKER, docker_peer.why_not())] if DOCKER not in samples else []
    missing += [(PODMAN, podman_peer.why_not())] if PODMAN not in samples else []
    return [
        Row(
            "logs",
            f"{MEGABYTES:.0f} MB of output into the log",
            "MB/s",
            (*series, *absent(missing)),
            (Target(100, at_least=True), Target(100, tool=JSON_FILE, at_least=True)),
            f"Peak resident memory of trimtab's monitor: {max(peaks):.1f} MB. More is better.",
        )
    ]


def own(ours: Ours, block: Path, driver: str, peaks: list[float]) -> float:
    """Megabytes per second."""
    logging = f"logging: {{driver: {driver}, options: {{max-size: 20m, max-file: '3'}}}}"
    fields = ("network_mode: none", f"volumes: ['{block}:/data:ro']", logging, "state: created")
    command = [word.replace("$", "$$") for word in COMMAND]
    ours.apply(container(NAME, command, *fields), NAME)
    begun = time.perf_counter()
    client.start(ours.layout, NAME)
    process = client.read_process(ours.layout, NAME)
    assert process is not None
    while (peak := peak_resident(process.monitor_pid)) is not None:
        peaks.append(peak)
        time.sleep(0.02)
    client.wait(ours.layout, NAME, 60)
    seconds = time.perf_counter() - begun
    last = [line.text for line in read_logs(str(ours.layout.container_log(NAME)), tail=1)]
    assert last == [LAST], last
    ours.delete(NAME)
    return MEGABYTES / seconds


def peak_resident(pid: int) -> float | None:
    """`VmHWM` in megabytes; None once the process has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), None)


def by_docker(docker: docker_peer.Docker, block: Path) -> float:
    limits = ("--log-driver=json-file", "--log-opt=max-size=20m", "--log-opt=max-file=3")
    mount = ("--volume", f"{block}:/data:ro", "--network=none")
    docker("create", "--name", NAME, *limits, *mount, "busybox", *COMMAND)
    begun = time.perf_counter()
    docker("start", NAME)
    docker("wait", NAME)
    while LAST not in docker("logs", "--tail=1", NAME):
        time.sleep(0.01)
    seconds = time.perf_counter() - begun
    docker("rm", NAME)
    return MEGABYTES / seconds


def by_podman(podman: podman_peer.Podman, block: Path) -> float:
    limits = ("--log-driver=k8s-file", "--log-opt=max-size=20mb", *podman.run_options())
    mount = ("--volume", f"{block}:/data:ro", "--network=none")
    podman("create", "--name", NAME, *limits, *mount, "busybox", *COMMAND)
    begun = time.perf_counter()
    podman("start", NAME)
    podman("wait", NAME)
    seconds = time.perf_counter() - begun
    podman("rm", NAME)
    return MEGABYTES / seconds
