"""podman, with storage and state of the run's own. There is no daemon: each command is a whole process."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground import Ground, run
from benchmarks.records import ABSENT


@dataclass(frozen=True, slots=True)
class Podman:
    """Storage at `disk`, state at `live`. Images: `busybox`."""

    disk: Path
    live: Path
    cgroup: str

    def __call__(self, *arguments: str, seconds: float = 120) -> str:
        """What `podman ARGUMENTS` prints. Raises RuntimeError."""
        return run(*self.command(*arguments), seconds=seconds)

    def command(self, *arguments: str) -> tuple[str, ...]:
        places = {"--root": self.disk, "--runroot": self.live / "run", "--network-config-dir": self.live / "networks"}
        options = [f"{name}={value}" for name, value in places.items()]
        runtime = ["--runtime=runc"] if shutil.which("runc") else []
        return ("podman", *options, *runtime, "--storage-driver=overlay", "--cgroup-manager=cgroupfs", *arguments)

    def run_options(self) -> list[str]:
        """A cgroup of the run's, and limits that a machine without CAP_SYS_RESOURCE lets it set."""
        return [f"--cgroup-parent=/{self.cgroup}", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"]


def why_not() -> str:
    return "" if shutil.which("podman") and shutil.which("conmon") else ABSENT


@contextmanager
def podman(ground: Ground, name: str = "podman") -> Iterator[Podman | None]:
    """With the image `busybox`, the same root file system as ours; None where it is not installed."""
    if why_not():
        yield None
        return
    disk, live = ground.directory(name)
    found = Podman(disk, live, ground.cgroup)
    (live / "networks").mkdir()
    with subprocess.Popen(["tar", "-C", str(ground.tree), "-c", "."], stdout=subprocess.PIPE) as tar:
        command = found.command("import", "--change", "ENV PATH=/bin", "-", "busybox")
        subprocess.run(command, stdin=tar.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    try:
        yield found
    finally:
        found("rm", "--all", "--force", "--time=0")
