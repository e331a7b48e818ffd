"""Probes of file systems: user namespaces to map with, id-mapped mounts, overlay. Nothing is attached anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.kernel import mount, namespaces
from runtime.kernel.mountinfo import read_mountinfo

IDS = [(0, 100_000, 65_536)]
WAIT_FOR_END_OF_INPUT = ["/bin/sh", "-c", "read line"]


def user_namespaces(_: Path) -> str:
    """How many this machine allows. Raises OSError where none can be made."""
    with user_namespace():
        most = Path("/proc/sys/user/max_user_namespaces").read_text().strip()
        return f"at most {most}"


@contextmanager
def user_namespace() -> Iterator[int]:
    """A descriptor of a new user namespace with a map of 65536 ids. A child holds it open; we never enter."""
    try:
        child = subprocess.Popen(
            WAIT_FOR_END_OF_INPUT,
            stdin=subprocess.PIPE,
            preexec_fn=lambda: namespaces.unshare(namespaces.CLONE_NEWUSER),
        )
    except subprocess.SubprocessError:
        raise OSError("unshare(CLONE_NEWUSER) was refused") from None
    try:
        for file in ("uid_map", "gid_map"):
            namespaces.write_map(child.pid, file, IDS)
        fd = namespaces.open_namespace(child.pid, "user")
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        child.communicate()


def idmapped_mounts(root: Path) -> str:
    """On the file systems of the engine's directories and of live state. Raises OSError for the engine's."""
    with user_namespace() as mapping:
        _idmap(root, mapping)
        others = {file_system(place): _tries(Path(place), mapping) for place in ("/run", "/tmp", "/dev/shm")}
    without = sorted(name for name, works in others.items() if not works)
    return f"on {file_system(root)}" + (f", not on {', '.join(without)}" if without else "")


def can_map_ids(place: Path) -> bool:
    """Whether what is mounted at `place` can be id-mapped."""
    with user_namespace() as mapping:
        return _tries(place, mapping)


def _tries(place: Path, mapping: int) -> bool:
    try:
        _idmap(place, mapping)
    except OSError:
        return False
    return True


def _idmap(place: Path, mapping: int) -> None:
    tree = mount.open_tree(mount.AT_FDCWD, str(place))
    try:
        mount.mount_setattr(tree, mount.MOUNT_ATTR_IDMAP, user_namespace=mapping)
    finally:
        os.close(tree)


def file_system(place: Path | str) -> str:
    """Type of the file system of an existing path, by its device number."""
    status = os.stat(place)
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    return next((mounted.fstype for mounted in read_mountinfo() if mounted.device == device), "unknown")


def overlay(root: Path) -> str:
    """Raises OSError where no overlay can be made of directories here."""
    with _layers(root) as layers:
        os.close(mount.new_mount("overlay", {"lowerdir": layers["lower"], **_writable(layers)}))
    return f"on {file_system(root)}"


def overlay_by_layer(root: Path) -> str:
    """Raises OSError where lower layers cannot be named one by one (Linux 6.5)."""
    with _layers(root) as layers:
        os.close(mount.new_mount("overlay", {"lowerdir+": layers["lower"], **_writable(layers)}))
    return ""


def _writable(layers: dict[str, str]) -> dict[str, str | None]:
    return {"upperdir": layers["upper"], "workdir": layers["work"]}


@contextmanager
def _layers(root: Path) -> Iterator[dict[str, str]]:
    base = tempfile.mkdtemp(prefix=".probe-", dir=root)
    try:
        layers = {name: f"{base}/{name}" for name in ("lower", "upper", "work")}
        for directory in layers.values():
            Path(directory).mkdir()
        yield layers
    finally:
        shutil.rmtree(base)
