"""/dev/shm of containers that share their ipc namespace: a tmpfs on the host, as long as its container lives.

A container that is not `ipc: shareable` has its /dev/shm in its own mount namespace, where nobody else gets at it.
"""

from __future__ import annotations

import errno
from pathlib import Path

from reconciler.bundle.mounts import DEFAULT_SHM
from reconciler.desired import Desired
from reconciler.perform.context import Context
from reconciler.resolve.containers import joined
from reconciler.resolve.expand import container_spec
from runtime.kernel import mount
from runtime.layout import Layout
from schemas.container import ContainerSpec
from schemas.errors import Refused
from schemas.names import Key, Kind


def shared_memory(context: Context, want: Desired, spec: ContainerSpec, id_base: int) -> Path | None:
    """What to bind on /dev/shm; None for one of the container's own. Raises Refused where the peer does not share."""
    layout = context.engine.layout
    peer = joined(spec.ipc)
    if peer is not None:
        if _ipc_of(context, peer) != "shareable":
            raise Refused(
                f"the ipc namespace of {peer} is private",
                object=str(want.key),
                step="spec.ipc",
                field=("spec", "ipc"),
                hint="write ipc: shareable there",
            )
        return _place(layout, peer.name)
    if spec.ipc != "shareable":
        return None
    return _make(layout, want.key.name, spec.shm_size or DEFAULT_SHM, id_base)


def _ipc_of(context: Context, peer: Key) -> str | None:
    """As the peer's manifest, or its Service's, says."""
    service = Key(Kind.SERVICE, peer.name.rpartition("-")[0])
    declared = context.declared.get(peer) or context.declared.get(service)
    return container_spec(declared, context.declared).ipc if declared is not None else None


def _place(layout: Layout, container: str) -> Path:
    return layout.run / "shm" / container


def _make(layout: Layout, container: str, size: int, owner: int) -> Path:
    remove(layout, container)
    place = _place(layout, container)
    place.mkdir(mode=0o711, parents=True, exist_ok=True)
    options: dict[str, str | None] = {"source": "shm", "mode": "1777", "size": str(size)}
    options |= {"uid": str(owner), "gid": str(owner)}
    attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
    tree = mount.new_mount("tmpfs", options, attributes)
    mount.move_mount(tree, mount.AT_FDCWD, str(place))
    return place


def remove(layout: Layout, container: str) -> None:
    """Take a container's shared /dev/shm off the host; who still has it bound keeps it. None is no error."""
    place = _place(layout, container)
    try:
        while True:
            mount.umount2(str(place), mount.MNT_DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
    if place.exists():
        place.rmdir()
