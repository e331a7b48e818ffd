"""dockerd of the run's own: data on the run's disk, sockets and state on its tmpfs, in its network namespace.

Debian's containerd is started beside it, since a dockerd that finds one on the host would use that. Both are ended by
their pids. `docker` itself is the client that Debian ships with it.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground import Ground
from benchmarks.records import ABSENT

DEBIAN = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Debian's own programs: others may lie before them."""
START_SECONDS, END_SECONDS = 60.0, 30.0
CONTAINERD = """version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
"""


@dataclass(frozen=True, slots=True)
class Docker:
    """A running daemon and how to reach it. Images: `busybox`."""

    environment: dict[str, str]
    cgroup: str
    containerd: int
    daemon: int

    def __call__(self, *arguments: str, seconds: float = 120) -> str:
        """What `docker ARGUMENTS` prints. Raises RuntimeError."""
        return self.program("docker", *arguments, seconds=seconds)

    def program(self, *command: str, seconds: float = 120) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done.stdout


def why_not() -> str:
    needed = ("dockerd", "containerd", "docker")
    return "" if all(shutil.which(name, path=DEBIAN) for name in needed) else ABSENT


@contextmanager
def docker(ground: Ground, name: str = "docker", disk: Path | None = None) -> Iterator[Docker | None]:
    """A daemon whose data lies on `disk` (the run's, where not given); None where it is not installed."""
    if why_not():
        yield None
        return
    made, live = ground.directory(name)
    data = disk or made
    environment = {"PATH": DEBIAN, "DOCKER_HOST": f"unix://{live}/docker.sock", "HOME": str(live), "LANG": "C.UTF-8"}
    logs = (live / "containerd.log").open("wb"), (live / "dockerd.log").open("wb")
    with logs[0], logs[1], _ended(_start_containerd(data, live, environment, logs[0].fileno())) as containerd:
        _wait_for(live / "containerd.sock", containerd, live / "containerd.log")
        with _ended(_start_daemon(ground, data, live, environment, logs[1].fileno())) as daemon:
            _wait_for(live / "docker.sock", daemon, live / "dockerd.log")
            found = Docker(environment, ground.cgroup, containerd.pid, daemon.pid)
            found("version")
            yield found


def import_busybox(found: Docker, tree: Path) -> None:
    """The same root file system as ours, as the image `busybox`."""
    with subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE) as tar:
        command = ["docker", "import", "--change", "ENV PATH=/bin", "-", "busybox"]
        subprocess.run(command, env=found.environment, stdin=tar.stdout, stdout=subprocess.DEVNULL, check=True)


def _start_containerd(data: Path, live: Path, environment: dict[str, str], log: int) -> subprocess.Popen[bytes]:
    file = live / "containerd.toml"
    file.write_text(CONTAINERD)
    places = ["--root", str(data / "containerd"), "--state", str(live / "containerd")]
    command = ["containerd", "--config", str(file), "--address", f"{live}/containerd.sock", *places]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _start_daemon(
    ground: Ground, data: Path, live: Path, environment: dict[str, str], log: int
) -> subprocess.Popen[bytes]:
    options = {
        "--config-file": live / "none.json",
        "--data-root": data / "docker",
        "--exec-root": live / "docker",
        "--pidfile": live / "docker.pid",
        "--host": f"unix://{live}/docker.sock",
        "--containerd": live / "containerd.sock",
        "--cgroup-parent": f"/{ground.cgroup}",
        "--storage-driver": "overlay2",
        "--exec-opt": "native.cgroupdriver=cgroupfs",
    }
    (live / "none.json").write_text("{}")
    command = ["dockerd", *(f"{name}={value}" for name, value in options.items())]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """SIGTERM, and SIGKILL for one that does not listen."""
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        process.kill()
        process.wait()
