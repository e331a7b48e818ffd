"""A rehearsal for an init that waits: the way to a container's program once, on a stage where nothing is real.

What a forked process touches for the first time is copied by the kernel, page by page; in an init that takes as long as
all its system calls. So one that waits goes through the motions before it is asked: a specification like an engine's is
read, and every call of the way is made with descriptors and paths that do not exist. Each fails at once and changes
nothing. Whatever the rehearsal leaves out is only slower; nothing depends on it.

Why it is harmless: it happens only where the whole tree is a shelter (`standby.py`), that is in mount, user, network
and pid namespaces which no container has yet, below a root that holds three mount points and no `ABSENT`, and in which
an init whose ids are not mapped can make nothing. No call is given a descriptor that is open (`NOWHERE` is above every
limit) or a path that is there; what is made at all (a socket pair, contexts of mounts never made) is closed again.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from runtime.kernel import capabilities, cgroup, mount, openat2
from runtime.process import devices, hooks, mounts, protocol, rootfs, stdio
from runtime.process.cgroup_mount import own_cgroups
from runtime.process.executable import execute, find_executable, home_of
from runtime.process.failure import ProcessFailed
from runtime.process.mount_options import options_of
from runtime.process.namespace_plan import plan_namespaces
from runtime.process.seccomp_filter import Filter
from runtime.process.signals import reset_signals
from runtime.process.standby import KEPT

NOWHERE = (1 << 31) - 1
"""A descriptor that is none."""

SOON_MS = 2
"""Who is asked for that soon after its birth has no time to rehearse."""

ABSENT = "/trimtab-rehearsal"
"""A path that is none."""

OPTIONS = ["nosuid", "noexec", "nodev", "relatime", "ro", "rprivate", "idmap", "mode=755", "size=64k", "rehearsal"]
"""The last one is none of tmpfs, so that nothing comes of it."""

PROCESS: dict[str, Any] = {
    "args": [ABSENT],
    "env": [f"PATH={ABSENT}", "HOME=/root", "TERM=xterm"],
    "cwd": ABSENT,
    "user": {"uid": 0, "gid": 0, "additionalGids": [1, 2, 3]},
    "capabilities": {kind: ["CAP_CHOWN", "CAP_KILL"] for kind in ("bounding", "permitted", "effective")},
}

SPECIFICATION = json.dumps(
    {
        "process": PROCESS,
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "rehearsal",
        "mounts": [{"destination": f"{ABSENT}/{n}", "type": "tmpfs", "options": OPTIONS} for n in range(3)],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("user", "mount", "pid", "network", "ipc", "uts", "cgroup")],
            "maskedPaths": [ABSENT],
            "readonlyPaths": [ABSENT],
        },
        "annotations": {f"trimtab/rehearsal{n}": ABSENT for n in range(3)},
    }
)


def rehearse(channel: socket.socket) -> None:
    """Go through the motions, unless `channel` has something to tell already, or soon, or we are not sheltered.

    Raises nothing.
    """
    if not _is_sheltered():
        return
    asked = select.poll()
    asked.register(channel, select.POLLIN)
    wait = SOON_MS
    for scene in (_hear_and_say, _build_root, _touch_file_system_calls, _become):
        if asked.poll(wait):
            return
        wait = 0
        with contextlib.suppress(Exception):
            scene()


def _is_sheltered() -> bool:
    """Whether the whole tree is a waiting init's: no mistake elsewhere must let us rehearse on a stage that is real."""
    return set(os.listdir("/")) == {path[1:] for path in KEPT}


def _hear_and_say() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        protocol.send(ours, {"spec": json.loads(SPECIFICATION)}, (ours.fileno(),))
        received = protocol.receive(theirs)
        for descriptor in received[1] if received else ():
            os.close(descriptor)


def _try(call: Callable[..., object], *arguments: Any, **named: Any) -> None:
    with contextlib.suppress(OSError, ProcessFailed):
        call(*arguments, **named)


def _build_root() -> None:
    spec = json.loads(SPECIFICATION)
    plan_namespaces(spec)
    for entry in spec["mounts"]:
        _try(mounts.prepare_mounts, {"mounts": [entry]})
        work = mounts.MountWork(entry, options_of(entry), NOWHERE)
        _try(mounts.attach_mounts, NOWHERE, [work], {}, lambda: None)
    own_cgroups()
    devices.wanted_devices(spec)
    _try(devices.open_node, {"path": ABSENT, "type": "c", "major": 1, "minor": 3})
    _try(devices.attach_devices, NOWHERE, spec, dict.fromkeys(devices.DEFAULT_DEVICES, NOWHERE))
    _try(devices.make_links, NOWHERE)
    _try(rootfs.make_directory, NOWHERE, ABSENT)
    _try(rootfs.cover_paths, NOWHERE, spec, NOWHERE)
    _try(rootfs.cover_paths, NOWHERE, {"linux": {"maskedPaths": [ABSENT]}}, NOWHERE)
    _try(rootfs.enter_root, NOWHERE)
    _try(rootfs.finish_root, NOWHERE, spec)
    _try(cgroup.enter, (NOWHERE,))


def _touch_file_system_calls() -> None:
    _try(mount.fsconfig_flag, NOWHERE, ABSENT)
    _try(mount.fsconfig_string, NOWHERE, ABSENT, ABSENT)
    _try(mount.fsmount, NOWHERE)
    _try(mount.open_tree, mount.AT_FDCWD, ABSENT)
    _try(mount.move_mount, NOWHERE, NOWHERE)
    _try(mount.mount_setattr, NOWHERE, mount.MOUNT_ATTR_RDONLY)
    _try(mount.mount, "", ABSENT, flags=mount.MS_REC | mount.MS_SLAVE)
    _try(mount.umount2, ABSENT, mount.MNT_DETACH)
    _try(openat2.make_file, NOWHERE, f"{ABSENT}/file")
    # names, not paths: a path that begins with a slash is looked for whatever the descriptor is
    _try(os.mkdir, "rehearsal", dir_fd=NOWHERE)
    _try(os.symlink, "rehearsal", "rehearsal", dir_fd=NOWHERE)


def _become() -> None:
    reset_signals()
    _try(stdio.put_in_place, (NOWHERE, NOWHERE, NOWHERE))
    hooks.has_hooks({}, "createContainer")
    hooks.run_hooks({}, "startContainer", {"status": "created"})
    _try(Filter.from_descriptor, NOWHERE, 0)
    _try(os.chdir, ABSENT)
    capabilities.capget()
    environment = dict(entry.split("=", 1) for entry in PROCESS["env"])
    home_of(0)
    _try(find_executable, "rehearsal", environment)
    _try(execute, ABSENT, PROCESS["args"], environment)
