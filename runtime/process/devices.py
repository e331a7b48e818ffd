"""`/dev` of a container: device nodes, the links every program expects, and the console.

Called by init after the mounts. In a user namespace of its own nobody may make device nodes, so the host's are bound
in; which of them may be used is the device cgroup's decision, not this file's.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from runtime.kernel import mount, openat2
from runtime.process.failure import step

DEFAULT_DEVICES = {
    "/dev/null": (1, 3),
    "/dev/zero": (1, 5),
    "/dev/full": (1, 7),
    "/dev/random": (1, 8),
    "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
}
"""runtime-spec config-linux.md, "Default Devices"."""

LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
}

KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def wanted_devices(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Every device of a spec: the default ones, unless it lists them itself, and its own."""
    own = (spec.get("linux") or {}).get("devices") or []
    listed = {device["path"] for device in own}
    defaults = [
        {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0}
        for path, (major, minor) in DEFAULT_DEVICES.items()
        if path not in listed
    ]
    return [*defaults, *own]


def prepare_devices(spec: dict[str, Any]) -> dict[str, int]:
    """Detached copies of the host's device nodes by path: the way of a container in a user namespace."""
    trees = {}
    for device in wanted_devices(spec):
        if device["type"] != "p":
            with step("device", device["path"]):
                trees[device["path"]] = open_node(device)
    return trees


def open_node(device: dict[str, Any]) -> int:
    """A detached copy of the host's node of a device of a spec. Raises OSError where it is another, or none."""
    tree = mount.open_tree(mount.AT_FDCWD, device["path"])
    status = os.fstat(tree)
    wanted = (KINDS[device["type"]], os.makedev(device["major"], device["minor"]))
    if (stat.S_IFMT(status.st_mode), status.st_rdev) != wanted:
        os.close(tree)
        raise FileNotFoundError(2, "the host has no such device node at this path")
    mount.mount_setattr(tree, mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC, propagation=mount.MS_PRIVATE)
    return tree


def attach_devices(root: int, spec: dict[str, Any], trees: dict[str, int]) -> None:
    """Put every device of a spec below `root`: the prepared copies, or nodes made here where there are none."""
    for device in wanted_devices(spec):
        path = device["path"]
        with step("device", path):
            if path in trees:
                target = openat2.make_file(root, path)
                mount.move_mount(trees[path], target)
                os.close(target)
                os.close(trees[path])
            else:
                _make_node(root, device)


def _make_node(root: int, device: dict[str, Any]) -> None:
    parent, _, name = device["path"].rpartition("/")
    directory = openat2.make_directory(root, parent)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        mode = device.get("fileMode", 0o666)
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        os.mknod(name, KINDS[device["type"]] | mode, number, dir_fd=directory)
        os.chmod(name, mode, dir_fd=directory)
        os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(directory)


def make_links(root: int) -> None:
    """The links of runtime-spec runtime-linux.md, "Dev symbolic links". What the image has there already stays."""
    directory = openat2.make_directory(root, "/dev")
    try:
        for path, target in LINKS.items():
            with step("link", path), contextlib.suppress(FileExistsError):
                os.symlink(target, path.removeprefix("/dev/"), dir_fd=directory)
    finally:
        os.close(directory)


def attach_console(root: int, terminal: int) -> None:
    """Bind the terminal behind the descriptor of its slave side on `/dev/console`."""
    with step("console", "/dev/console"):
        tree = mount.open_tree(terminal, "", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH)
        target = openat2.make_file(root, "/dev/console")
        mount.move_mount(tree, target)
        os.close(target)
        os.close(tree)
