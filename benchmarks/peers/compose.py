"""Docker Compose on the run's dockerd: the plugin (v2) where there is one, else Debian's docker-compose (v1).

Without either, one `docker run --detach` per container, all at once, stands in, and the series says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.docker import DEBIAN, Docker

PROJECT = "bench"


@dataclass(frozen=True, slots=True)
class Compose:
    """`up` and `down` of one file's services. `name`: what stands in the table."""

    name: str
    docker: Docker
    program: tuple[str, ...]

    def up(self, file: Path) -> None:
        self.docker.program(*self.program, "-p", PROJECT, "-f", str(file), "up", "-d", seconds=300)

    def down(self, file: Path) -> None:
        self.docker.program(*self.program, "-p", PROJECT, "-f", str(file), "down", seconds=300)


def find_compose(docker: Docker) -> Compose | None:
    """The newest that works."""
    for name, program in (("docker compose", ("docker", "compose")), ("docker-compose", ("docker-compose",))):
        if shutil.which(program[0], path=DEBIAN) is None:
            continue
        try:
            version = docker.program(*program, "version", "--short").strip()
        except RuntimeError:
            continue
        return Compose(f"{name} {version}", docker, program)
    return None


@dataclass(frozen=True, slots=True)
class StandIn:
    """`docker run` and `docker rm`, several at once, where there is no Compose."""

    docker: Docker
    names: Sequence[str]
    command: Sequence[str]
    at_once: int = 8

    @property
    def name(self) -> str:
        return "docker run -d, 8 at once (no compose)"

    def up(self, file: Path) -> None:
        self.docker("network", "create", PROJECT)
        with ThreadPoolExecutor(self.at_once) as pool:
            list(pool.map(self._run, self.names))

    def _run(self, name: str) -> None:
        self.docker("run", "-d", "--name", name, "--network", PROJECT, "busybox", *self.command)

    def down(self, file: Path) -> None:
        with ThreadPoolExecutor(self.at_once) as pool:
            list(pool.map(self._remove, self.names))
        self.docker("network", "rm", PROJECT)

    def _remove(self, name: str) -> None:
        self.docker("stop", name)
        self.docker("rm", name)
