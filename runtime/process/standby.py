"""An init that waits in its namespaces before anybody asks: which ones, and what it keeps of the host meanwhile.

Making namespaces and the faults of a fresh fork cost more than all the rest of a start, and most containers want the
same ones. Only where a process can enter its cgroup by itself: on v2 it has to be born in it.
"""

from __future__ import annotations

import os

from runtime.kernel import cgroup, mount, namespaces
from runtime.process.cloning import Order

KINDS = frozenset({"user", "mount", "pid", "network", "ipc", "uts"})
"""The namespaces it is in. The cgroup namespace comes later for everybody."""

KEPT = ("/dev", "/proc", "/sys")
"""All of the host's tree that an init looks at by itself."""

ORDER = Order(sum(namespaces.KINDS[kind][0] for kind in KINDS))

_COPY = mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE


def can_wait() -> bool:
    """Whether an init can be made before its cgroup."""
    return cgroup.detect() is not cgroup.Version.V2


def make_shelter() -> int:
    """A detached mount for `forget_host_tree` to live in, with a directory for each of `KEPT`.

    Made with the host's rights: an init whose ids are not mapped yet can own no directory.
    """
    shelter = mount.new_mount("tmpfs", {"source": "tmpfs", "mode": "755", "size": "16k"})
    for path in KEPT:
        os.mkdir(path[1:], 0o755, dir_fd=shelter)
    return shelter


def forget_host_tree(shelter: int) -> None:
    """Keep of the host's mounts only what an init needs: what waits here must keep nobody from unmounting.

    All or nothing: half of it would leave the host's tree where nobody expects it.
    """
    mount.mount("", "/", flags=mount.MS_REC | mount.MS_SLAVE)
    kept = [(path[1:], mount.open_tree(mount.AT_FDCWD, path, _COPY)) for path in KEPT]
    mount.move_mount(shelter, mount.AT_FDCWD, "/")
    for name, tree in kept:
        mount.move_mount(tree, shelter, name)
        os.close(tree)
    os.fchdir(shelter)
    mount.pivot_root(".", ".")
    mount.umount2(".", mount.MNT_DETACH)
    os.chdir("/")
    os.close(shelter)
