"""The container's view of its cgroups: `/sys/fs/cgroup`, made by init once it has its cgroup namespace.

v2: one cgroup2 mount. v1 and hybrid: a tmpfs with one directory per hierarchy, as the runtime-spec means its mount of
type `cgroup` and as other runtimes do it. Without a cgroup namespace of its own a container sees just its own cgroup.
"""

from __future__ import annotations

import os

from runtime.kernel import mount
from runtime.process.mount_options import MountOptions

HOST_ROOT = "/sys/fs/cgroup"
UNIFIED = "unified"


def attach_cgroup(target: int, options: MountOptions) -> int:
    """Attach the cgroup file systems on `target`; the descriptor of the mount on top."""
    own = own_cgroups()
    if list(own) == [""]:
        tree = _one_hierarchy("cgroup2", {}, HOST_ROOT + own[""], options.set)
        mount.move_mount(tree, target)
        return tree
    return _attach_v1(target, own, options)


def own_cgroups() -> dict[str, str]:
    """The caller's cgroup in each hierarchy, by the hierarchy's controllers as /proc/self/cgroup writes them."""
    found = {}
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            found[controllers] = path
    return found


def _attach_v1(target: int, own: dict[str, str], options: MountOptions) -> int:
    top = mount.new_mount("tmpfs", {"source": "tmpfs", "mode": "755"}, options.set & ~mount.MOUNT_ATTR_RDONLY)
    mount.move_mount(top, target)
    for controllers, path in own.items():
        name = controllers.removeprefix("name=") or UNIFIED
        if not os.path.isdir(f"{HOST_ROOT}/{name}"):
            continue
        tree = _hierarchy(controllers, f"{HOST_ROOT}/{name}{path}", options.set)
        try:
            if _is_hosts_root(tree, controllers):
                # the container has no cgroup of its own there: it would see the names of everybody else's
                continue
            os.mkdir(name, 0o755, dir_fd=top)
            mount.move_mount(tree, top, name)
        finally:
            os.close(tree)
        for alias in name.split(",") if "," in name else ():
            os.symlink(name, alias, dir_fd=top)
    return top


def _is_hosts_root(tree: int, controllers: str) -> bool:
    """Whether it is the root of a hierarchy: only that has a release agent (v1), only that has no type (v2)."""
    return _has(tree, "release_agent") if controllers else not _has(tree, "cgroup.type")


def _has(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def _hierarchy(controllers: str, host_path: str, attributes: int) -> int:
    if not controllers:
        return _one_hierarchy("cgroup2", {}, host_path, attributes)
    data: dict[str, str | None] = dict.fromkeys(controllers.split(","))
    if controllers.startswith("name="):
        data = {"name": controllers.removeprefix("name=")}
    return _one_hierarchy("cgroup", data, host_path, attributes)


def _one_hierarchy(fstype: str, data: dict[str, str | None], host_path: str, attributes: int) -> int:
    try:
        return mount.new_mount(fstype, {"source": fstype, **data}, attributes)
    except PermissionError:
        # the cgroup namespace is not ours: show the container's own cgroup, as it is on the host
        tree = mount.open_tree(mount.AT_FDCWD, host_path)
        mount.mount_setattr(tree, attributes, propagation=mount.MS_PRIVATE)
        return tree
