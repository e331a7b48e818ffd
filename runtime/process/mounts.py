"""The container's mounts, made by init in its own mount namespace and attached below the new root.

Two steps, so that the first overlaps with the monitor's work: `prepare_mounts` makes file systems that stand alone
(proc, sysfs, tmpfs, devpts, ...), `attach_mounts` puts them and the monitor's bind sources on their targets in the
order of the spec. Targets are found inside the root whatever its symlinks say, and created where missing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.kernel import mount, openat2
from runtime.process.cgroup_mount import attach_cgroup
from runtime.process.failure import step
from runtime.process.mount_options import MountOptions, options_of
from runtime.process.sources import is_mapped

HOST_COPIES = {"proc": "/proc", "sysfs": "/sys", "mqueue": "/dev/mqueue"}
"""File systems that show a namespace: where that is not ours to mount, the host's own is shown, as it is there."""


@dataclass(slots=True)
class MountWork:
    """One entry of `mounts` on its way: `tree` is the detached mount, -1 while there is none."""

    entry: dict[str, Any]
    options: MountOptions
    tree: int = -1


def prepare_mounts(spec: dict[str, Any]) -> list[MountWork]:
    """Make every mount of a spec that stands alone."""
    works = [MountWork(entry, options_of(entry)) for entry in spec.get("mounts") or ()]
    for work in works:
        fstype = work.entry.get("type") or ""
        if work.options.bind or fstype in {"cgroup", "cgroup2"}:
            continue
        with step(f"mount {fstype}", work.entry["destination"]):
            work.tree = _make(spec, work, fstype)
    return works


def _make(spec: dict[str, Any], work: MountWork, fstype: str) -> int:
    options = dict(work.options.data)
    # devpts refuses a group that the user namespace does not map
    if fstype == "devpts" and "gid" in options and not is_mapped(spec, "gidMappings", int(options["gid"] or 0)):
        del options["gid"]
    source = work.entry.get("source")
    if fstype not in {"proc", "sysfs"}:
        options["source"] = source or fstype
    # read-only comes last: targets of later mounts may have to be made in here
    attributes = work.options.set & ~mount.MOUNT_ATTR_RDONLY
    try:
        return mount.new_mount(fstype, options, attributes)
    except PermissionError:
        if fstype not in HOST_COPIES:
            raise
    tree = mount.open_tree(mount.AT_FDCWD, HOST_COPIES[fstype], mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE)
    mount.mount_setattr(tree, propagation=mount.MS_PRIVATE, recursive=True)
    mount.mount_setattr(tree, attributes, recursive=True)
    return tree


def attach_mounts(root: int, works: list[MountWork], binds: dict[int, int], enter_cgroup: Callable[[], None]) -> None:
    """Attach prepared mounts and bind sources (by place in `mounts`) below `root`, in order.

    `enter_cgroup` is called once, as late as possible: before the first mount that shows cgroups, or at the end.
    """
    entered = False
    for number, work in enumerate(works):
        work.tree = binds.get(number, work.tree)
        if work.tree < 0 and not entered:
            enter_cgroup()
            entered = True
        with step("mount", work.entry["destination"]):
            _attach(root, work, work.entry["destination"])
    if not entered:
        enter_cgroup()


def _attach(root: int, work: MountWork, destination: str) -> None:
    target = _open_target(root, work.tree, destination)
    try:
        if work.tree < 0:
            work.tree = attach_cgroup(target, work.options)
            return
        if work.options.copy_up:
            copy_tree(target, work.tree)
        mount.move_mount(work.tree, target)
    finally:
        os.close(target)


def _open_target(root: int, tree: int, destination: str) -> int:
    # a file's mount goes on a file, a directory's on a directory
    if tree < 0 or stat.S_ISDIR(os.fstat(tree).st_mode):
        return openat2.make_directory(root, destination)
    return openat2.make_file(root, destination)


def seal_mounts(works: list[MountWork]) -> None:
    """Make read-only what asked for it, now that every target exists."""
    for work in works:
        if work.options.set & mount.MOUNT_ATTR_RDONLY and not work.options.bind:
            with step("read-only", work.entry["destination"]):
                mount.mount_setattr(work.tree, mount.MOUNT_ATTR_RDONLY)
        os.close(work.tree)


def copy_tree(source: int, target: int) -> None:
    """Copy directories, files and symlinks with owner and mode from one directory to another (`tmpcopyup`)."""
    listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)
    try:
        for name in os.listdir(listing):
            _copy_entry(listing, target, name)
    finally:
        os.close(listing)


def _copy_entry(source: int, target: int, name: str) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(name, dir_fd=target)
        below = [os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at) for at in (source, target)]
        try:
            copy_tree(below[0], below[1])
        finally:
            for descriptor in below:
                os.close(descriptor)
    elif stat.S_ISREG(status.st_mode):
        _copy_file(source, target, name)
    else:
        return
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)


def _copy_file(source: int, target: int, name: str) -> None:
    reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        while os.sendfile(writer, reader, None, 1 << 20):
            pass
    finally:
        os.close(reader)
        os.close(writer)
