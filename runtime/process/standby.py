"""An init made before anybody asks for it: in new namespaces already, waiting to be told what it will be.

Making namespaces and the faults of a fresh fork cost more than all the rest of a start. Most containers want the same
namespaces, so their creator has them ready; a specification that wants others gets a clone of its own (`cloning.py`).
Only where a process can enter its cgroup by itself: on v2 it has to be born in it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from runtime.kernel import cgroup, mount, namespaces
from runtime.process.namespace_plan import NamespacePlan

KINDS = frozenset({"user", "mount", "pid", "network", "ipc", "uts"})
"""The namespaces it is in. The cgroup namespace comes later for everybody."""

KEPT = ("/dev", "/proc", "/sys")
"""All of the host's tree that an init looks at by itself."""


@dataclass(frozen=True, slots=True)
class Standby:
    """An init that waits, as a child of our parent."""

    pid: int
    pidfd: int
    channel: socket.socket

    @staticmethod
    def fits(plan: NamespacePlan) -> bool:
        """Whether a container of this plan can have it."""
        return plan.made - {"cgroup"} == KINDS and not plan.joins


def make_standby(live: Callable[[socket.socket, int], None]) -> Standby | None:
    """Clone one; its life is `live`, which never returns and is given the small root of `forget_host_tree`.

    None where init must be born in its cgroup.
    """
    if cgroup.detect() is cgroup.Version.V2:
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    top = _small_root()
    flags = sum(namespaces.KINDS[kind][0] for kind in KINDS)
    try:
        pid, pidfd = namespaces.clone3(flags | namespaces.CLONE_PARENT)
    except OSError:
        # no user namespaces here, or too many: whoever asks for one is told so
        ours.close()
        theirs.close()
        os.close(top)
        return None
    if pid == 0:
        ours.close()
        live(theirs, top)
        os._exit(1)
    theirs.close()
    os.close(top)
    return Standby(pid, pidfd, ours)


def _small_root() -> int:
    """A detached tmpfs with the directories of `KEPT`. Made in the initial user namespace: while its ids are not
    mapped, an init can make no file at all (EOVERFLOW)."""
    top = mount.new_mount("tmpfs", {"source": "tmpfs", "mode": "755", "size": "64k"})
    for path in KEPT:
        os.mkdir(path[1:], 0o755, dir_fd=top)
    return top


def forget_host_tree(top: int) -> None:
    """Keep of the host's mounts only what an init needs: what waits here must keep nobody from unmounting.

    Raises OSError: half done, the root that comes later would not be the only one, so nothing is let pass.
    """
    mount.mount("", "/", flags=mount.MS_REC | mount.MS_SLAVE)
    kept = [(path, mount.open_tree(mount.AT_FDCWD, path, _COPY)) for path in KEPT]
    mount.move_mount(top, mount.AT_FDCWD, "/")
    for path, tree in kept:
        mount.move_mount(tree, top, path[1:])
        os.close(tree)
    os.fchdir(top)
    mount.pivot_root(".", ".")
    mount.umount2(".", mount.MNT_DETACH)
    os.chdir("/")
    os.close(top)


_COPY = mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE
