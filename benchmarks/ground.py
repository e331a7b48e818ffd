"""Where a run happens: namespaces and file systems of its own, the same for every tool, gone when it ends.

The process leaves the host's network and mounts. `/run` and `/dev/shm` become tmpfs of the run's own, so that no daemon
of the host is met there and no live state is left; on `/run` lies the image of a fresh ext4, where every tool keeps its
data. Even a killed run leaves nothing of this behind once the daemons it started have ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.kernel.mount import MS_PRIVATE, MS_REC, mount
from runtime.kernel.mountinfo import mounts_below, read_mountinfo
from runtime.kernel.namespaces import CLONE_NEWNET, CLONE_NEWNS, unshare

DISK_BYTES = 8 << 30
"""Of the ext4; sparse."""
LEAVE_SECONDS = 10.0
BASE = Path("/run/b")
"""Short: names of sockets are limited to 108 bytes."""


@dataclass(frozen=True, slots=True)
class Ground:
    """`disk`: a fresh ext4. `live`: a tmpfs. `tree`: a root file system of static busybox, on the ext4.

    `cgroup`: a name of the run's own, below which peers put their containers.
    """

    disk: Path
    live: Path
    tree: Path
    cgroup: str

    def directory(self, name: str) -> tuple[Path, Path]:
        """An empty directory on the disk, and one on the tmpfs."""
        made = (self.disk / name, self.live / name)
        for path in made:
            unmount_below(path)
            if path.exists():
                shutil.rmtree(path)
            path.mkdir(mode=0o711)
        return made


@contextmanager
def own_ground() -> Iterator[Ground]:
    """Needs root, no threads yet, mkfs.ext4 and a static busybox."""
    leave_host()
    disk, live = BASE / "disk", BASE / "live"
    live.mkdir(parents=True, mode=0o711)
    make_ext4(BASE / "disk.img", disk, DISK_BYTES)
    tree = disk / "busybox"
    make_tree(tree)
    ground = Ground(disk, live, tree, f"trimtab-bench-{os.getpid()}")
    try:
        yield ground
    finally:
        remove_cgroups(ground.cgroup)


def leave_host() -> None:
    unshare(CLONE_NEWNET | CLONE_NEWNS)
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    mount("tmpfs", "/run", "tmpfs", data="mode=755,size=90%")
    mount("tmpfs", "/dev/shm", "tmpfs", data="mode=1777")  # podman keeps locks of all its storages there
    run("ip", "link", "set", "lo", "up")


def make_ext4(image: Path, point: Path, size: int) -> None:
    """A fresh ext4 of `size` bytes at `point`; its loop device goes with the mount."""
    point.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", str(image))
    run("mount", "-o", "loop", str(image), str(point))


def unmount_below(directory: Path) -> None:
    """What a tool has left mounted there, podman its storage."""
    for found in reversed(mounts_below(read_mountinfo(), str(directory))):
        run("umount", "--lazy", found.point)


def make_tree(tree: Path) -> None:
    """Debian's static busybox, every applet linked."""
    run(str(Path(__file__).resolve().parent.parent / ".ci/busybox-rootfs"), str(tree))


def remove_cgroups(name: str) -> None:
    """Those that a peer has left below the run's own name, deepest first. Waits for processes that are just leaving."""
    deadline = time.monotonic() + LEAVE_SECONDS
    while tops := [top for top in Path("/sys/fs/cgroup").glob(f"*/{name}") if top.is_dir()]:
        for top in tops:
            for directory, _, _ in os.walk(top, topdown=False):
                with suppress(OSError):
                    Path(directory).rmdir()
        if time.monotonic() > deadline:
            raise RuntimeError(f"cgroups are left: {' '.join(map(str, tops))}")
        time.sleep(0.05)


def run(*command: str, seconds: float = 120) -> str:
    """What a command prints. Raises RuntimeError with what it said when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
