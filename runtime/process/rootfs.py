"""The new root, step by step: attached, filled, entered, and what must not be seen or changed in it covered.

Called by init, in its own mount namespace. `enter_root` leaves nothing of the host's tree behind.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from runtime.kernel import mount, openat2
from runtime.process.failure import step
from runtime.process.mount_options import PROPAGATION


def detach_from_host(spec: dict[str, Any]) -> None:
    """Stop our mounts from showing on the host; the host's go on showing here unless the spec wants it `private`."""
    wanted = ((spec.get("linux") or {}).get("rootfsPropagation") or "").removeprefix("r")
    flag = mount.MS_PRIVATE if wanted == "private" else mount.MS_SLAVE
    with step("propagation", "/"):
        mount.mount("", "/", flags=mount.MS_REC | flag)


def attach_root(root: int) -> None:
    """Attach the detached root on top of the host's `/`: no path of the host has to be reachable for it."""
    with step("rootfs"):
        mount.move_mount(root, mount.AT_FDCWD, "/")


def enter_root(root: int) -> None:
    """pivot_root(2) into `root`. What was the root lies on top of the new one, to be removed by `leave_host_tree`."""
    with step("pivot_root"):
        os.fchdir(root)
        mount.pivot_root(".", ".")


def leave_host_tree(root: int) -> None:
    """Let go of what was the root before `enter_root`: from here on no path leads to it."""
    with step("pivot_root"):
        mount.umount2(".", mount.MNT_DETACH)
        # what lies on top of the root is what somebody who joins would get: seen by looking past it, up and down again
        os.chdir("/..")
        if not os.path.samestat(os.fstat(root), os.stat(".")):
            # never run anything above what may be the host's tree
            raise OSError(errno.EXDEV, "another root lies above the container's")
        os.chdir("/")


def make_directory(root: int, path: str) -> None:
    """Make the working directory where an image only names it."""
    with step("cwd", path):
        os.close(openat2.make_directory(root, path))


def cover_paths(root: int, spec: dict[str, Any], null: int) -> None:
    """`linux.maskedPaths` and `readonlyPaths`. `null` is the null device where it is attached: before Linux 6.15 only
    what is attached in our own mount namespace can be cloned.
    """
    linux = spec.get("linux") or {}
    empty = -1
    for path in linux.get("readonlyPaths") or ():
        with step("read-only path", path):
            _make_read_only(root, path)
    for path in linux.get("maskedPaths") or ():
        with step("masked path", path):
            empty = _mask(root, path, null, empty)
    if empty >= 0:
        os.close(empty)


def _open_existing(root: int, path: str) -> int | None:
    try:
        return openat2.open_inside(root, path)
    except OSError as error:
        # what is not there needs no cover (ENOTDIR and EACCES: a path below a file, or one that is covered already)
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EACCES}:
            return None
        raise


def _make_read_only(root: int, path: str) -> None:
    target = _open_existing(root, path)
    if target is None:
        return
    tree = mount.open_tree(target, "", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH | mount.AT_RECURSIVE)
    mount.mount_setattr(tree, mount.MOUNT_ATTR_RDONLY, recursive=True)
    mount.move_mount(tree, target)
    os.close(tree)
    os.close(target)


def _mask(root: int, path: str, null: int, empty: int) -> int:
    """Cover one path; `empty` is the first covering directory, which the others copy, or -1."""
    target = _open_existing(root, path)
    if target is None:
        return empty
    if not stat.S_ISDIR(os.fstat(target).st_mode):
        cover = mount.open_tree(null, "", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH)
    elif empty >= 0:
        cover = mount.open_tree(empty, "", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH)
    else:
        cover = mount.new_mount(
            "tmpfs", {"source": "tmpfs", "mode": "755", "nr_inodes": "1", "size": "0"}, mount.MOUNT_ATTR_RDONLY
        )
    mount.move_mount(cover, target)
    os.close(target)
    if empty < 0 and stat.S_ISDIR(os.fstat(cover).st_mode):
        return cover
    os.close(cover)
    return empty


def finish_root(root: int, spec: dict[str, Any]) -> None:
    """Read-only root and the propagation of `/`, once everything stands."""
    with step("rootfs", "/"):
        if spec["root"].get("readonly"):
            mount.mount_setattr(root, mount.MOUNT_ATTR_RDONLY)
        wanted = (spec.get("linux") or {}).get("rootfsPropagation") or ""
        if wanted:
            recursive = wanted.startswith("r")
            mount.mount_setattr(root, propagation=PROPAGATION[wanted.removeprefix("r")], recursive=recursive)
