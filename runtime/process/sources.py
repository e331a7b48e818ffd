"""What a container is given of the host's files: its root and its bind mounts, opened before anyone can interfere.

Called by the monitor, in the host's namespaces and with the host's rights, once init's user namespace has its maps.
Each source becomes a detached copy of a mount, with its options already set; init only has to attach it.
"""

from __future__ import annotations

import errno
import json
import os
import signal
from typing import Any

from runtime.kernel import mount, namespaces
from runtime.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2
from runtime.process.failure import step
from runtime.process.mount_options import MountOptions, options_of
from runtime.process.overlay import overlay_image, overlay_root

ROOTFS_ANNOTATION = "trimtab/rootfs"


def open_root(spec: dict[str, Any], bundle: str, user_namespace: int | None) -> int:
    """A detached mount of the container's root: the overlay its annotation describes, or a copy of `root.path`."""
    described = (spec.get("annotations") or {}).get(ROOTFS_ANNOTATION)
    if described is None:
        path = os.path.join(bundle, spec["root"]["path"])
        with step("rootfs", path):
            root = mount.open_tree(mount.AT_FDCWD, path, mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE)
            mount.mount_setattr(root, propagation=mount.MS_PRIVATE, recursive=True)
        return root
    parts = json.loads(described)
    layers = (parts["lower"], parts["upper"], parts["work"])
    return overlay_root(*layers, user_namespace, root_ids(spec), leave_open=True)


def root_ids(spec: dict[str, Any]) -> tuple[int, int]:
    """The host's ids of the container's root; of its lowest mapped id where root itself is not mapped."""
    return host_id(spec, "uidMappings", 0), host_id(spec, "gidMappings", 0)


def host_id(spec: dict[str, Any], which: str, inside: int) -> int:
    """The host's id of a container's id by the maps; the first mapped id where that one is not mapped."""
    ranges = id_ranges(spec, which)
    for first, outside, size in ranges:
        if first <= inside < first + size:
            return outside + inside - first
    return ranges[0][1] if ranges else inside


def is_mapped(spec: dict[str, Any], which: str, inside: int) -> bool:
    """Whether a container's id means anything on the host."""
    ranges = id_ranges(spec, which)
    return not ranges or any(first <= inside < first + size for first, _, size in ranges)


def id_ranges(spec: dict[str, Any], which: str) -> list[tuple[int, int, int]]:
    """`linux.uidMappings` or `gidMappings` as (inside, outside, size)."""
    return _ranges(spec.get("linux") or {}, which)


def open_binds(spec: dict[str, Any], bundle: str, user_namespace: int | None) -> dict[int, int]:
    """Descriptors of the bind mounts of a spec, by their place in `mounts`."""
    opened = {}
    for number, entry in enumerate(spec.get("mounts") or ()):
        options = options_of(entry)
        if options.bind:
            path = os.path.join(bundle, entry["source"])
            with step("mount source", path):
                opened[number] = _open_source(path, entry, options, user_namespace)
    return opened


def _open_source(path: str, entry: dict[str, Any], options: MountOptions, user_namespace: int | None) -> int:
    """Private extensions: with `layers`, the tree is that of an image, of which `source` is the highest layer; with
    `subpath`, only that part of `source` is mounted; `at_hand` says that to open it waits for nobody (`creator`)."""
    if "layers" not in entry:
        return _open_bind(path, entry, options, user_namespace)
    tree = overlay_image(entry["layers"], user_namespace)
    set_options(tree, options, shared=False)
    return tree


def _open_bind(path: str, entry: dict[str, Any], options: MountOptions, user_namespace: int | None) -> int:
    recursive = mount.AT_RECURSIVE if options.recursive else 0
    tree = _open_part(path, entry["subpath"], recursive) if "subpath" in entry else _open_whole(path, recursive)
    try:
        _map_ids(tree, entry, options, user_namespace)
        set_options(tree, options, shared=user_namespace is None)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _open_whole(path: str, recursive: int) -> int:
    return mount.open_tree(mount.AT_FDCWD, path, mount.OPEN_TREE_CLONE | recursive)


def _open_part(path: str, subpath: str, recursive: int) -> int:
    """What lies at `subpath` beneath `path`, whose content containers write: no symlink of theirs leads out."""
    whole = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        part = openat2(whole, subpath.strip("/") or ".", os.O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(whole)
    try:
        return mount.open_tree(part, "", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH | recursive)
    finally:
        os.close(part)


def set_options(tree: int, options: MountOptions, *, shared: bool) -> None:
    """Give a detached mount its attributes and its propagation; without `shared`, at most a slave of its origin."""
    # private first and throughout: what the container mounts below must not appear on the host
    if not options.propagation:
        mount.mount_setattr(tree, propagation=mount.MS_PRIVATE, recursive=True)
    if options.recursive_set or options.recursive_clear:
        mount.mount_setattr(tree, options.recursive_set, options.recursive_clear, recursive=True)
    propagation = options.propagation
    if propagation == mount.MS_SHARED and not shared:
        propagation = mount.MS_SLAVE
    if options.set or options.clear:
        mount.mount_setattr(tree, options.set, options.clear)
    if propagation:
        mount.mount_setattr(tree, propagation=propagation, recursive=options.recursive_propagation)


def _map_ids(tree: int, entry: dict[str, Any], options: MountOptions, user_namespace: int | None) -> None:
    own = bool(entry.get("uidMappings"))
    if not own and (not options.idmap or user_namespace is None):
        return
    descriptor = user_namespace_of(entry) if own else user_namespace
    assert descriptor is not None
    try:
        mount.mount_setattr(tree, mount.MOUNT_ATTR_IDMAP, user_namespace=descriptor, recursive=options.recursive_idmap)
    except OSError as error:
        # EINVAL: the file system cannot; EPERM: it is mapped already. Maps asked for by number are not given up
        if own or error.errno not in {errno.EINVAL, errno.EPERM}:
            raise
    finally:
        if own:
            os.close(descriptor)


def user_namespace_of(entry: dict[str, Any]) -> int:
    """A user namespace nobody lives in, with the maps of a mount's `uidMappings` and `gidMappings`."""
    pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWUSER)
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        for which, file in (("uidMappings", "uid_map"), ("gidMappings", "gid_map")):
            namespaces.write_map(pid, file, _ranges(entry, which))
        return namespaces.open_namespace(pid, "user")
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)


def _ranges(holder: dict[str, Any], which: str) -> list[tuple[int, int, int]]:
    return [(one["containerID"], one["hostID"], one["size"]) for one in holder.get(which) or ()]
