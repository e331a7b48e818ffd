"""An init that waits in its namespaces before anybody asks: which ones, and what it keeps of the host meanwhile.

Making namespaces and the faults of a fresh fork cost more than all the rest of a start, and most containers want the
same ones. Only where a process can enter its cgroup by itself: on v2 it has to be born in it.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from runtime.kernel import cgroup, mount, namespaces
from runtime.process.cloning import Cloned, Order

KINDS = frozenset({"user", "mount", "pid", "network", "ipc", "uts"})
"""The namespaces it is in. The cgroup namespace comes later for everybody."""

KEPT = ("/dev", "/proc", "/sys")
"""All of the host's tree that an init looks at by itself."""

ORDER = Order(sum(namespaces.KINDS[kind][0] for kind in KINDS))

_COPY = mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE


class Stage:
    """All that a monitor needs to clone an init that waits, made ready by whoever forks it.

    What a monitor touches it has for itself, as long as its container lives: so it has next to nothing to do.
    """

    __slots__ = ("call", "channel", "control", "ours", "pid", "pidfd", "report", "rights", "shelter", "theirs")

    def __init__(self, channel: socket.socket, report: bytes) -> None:
        self.channel = channel
        self.report = report
        self.shelter = make_shelter()
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.call = namespaces.Clone3(ORDER.flags)
        self.pid = self.pidfd = -1
        self.rights = array.array("i", (-1, self.ours.fileno()))
        self.control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self.rights)]

    def clone(self, life: Callable[[socket.socket, int], None]) -> bool:
        """Clone an init whose life is `life`, of its end of the socket and the shelter, and report it on `channel`:
        its pid behind `report`, its pidfd and our end of the socket. False where the kernel will not have it.
        """
        try:
            self.pid, self.pidfd = self.call.call()
        except OSError:
            self.close()
            return False
        if self.pid == 0:
            self.ours.close()
            life(self.theirs, self.shelter)
            os._exit(1)
        self.rights[0] = self.pidfd
        with suppress(OSError):
            # where nobody waits for it any more, the next look at the channel tells
            self.channel.sendmsg((self.report + self.pid.to_bytes(8, "little"),), self.control, socket.MSG_NOSIGNAL)
        self.close()
        return True

    def cloned(self) -> Cloned:
        """What `clone` has made."""
        return Cloned(self.pid, self.pidfd, self.ours)

    def close(self) -> None:
        """Our ends: init's end must be seen by the one at the other end alone."""
        self.ours.close()
        self.theirs.close()
        os.close(self.shelter)


def make_stage(channel: socket.socket, report: bytes) -> Stage | None:
    """For a monitor that reports on `channel`; None where no init can wait, or the kernel will not have it."""
    with suppress(OSError):
        return Stage(channel, report) if can_wait() else None
    return None


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
