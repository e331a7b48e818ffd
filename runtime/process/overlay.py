"""A container's root as an overlay mount: detached, made with the host's privileges, seen with the container's ids.

Called by the monitor once init's user namespace has its maps. Layers and upper directory lie unshifted on disk; each is
mounted id-mapped (mount_setattr(2)), so that a file of container root is uid 0 on disk. Nothing is attached: the
result is one descriptor that init attaches in its own mount namespace.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache

from runtime.kernel import mount, namespaces, prctl
from runtime.kernel.mountinfo import read_mountinfo
from runtime.process.failure import ProcessFailed, step

ID_MAP = "id map"
"""The step that fails where a layer lies on a file system that cannot show other ids."""

OPTIONS = {"index": "off", "metacopy": "off", "redirect_dir": "off"}
"""What an upper directory must be free of to be a layer by itself later: no redirects, no metadata-only copies."""

FIRST_KERNEL_WITH_DETACHED_LAYERS = (6, 15)
"""Overlay takes layers from detached mounts since then; before, a layer had to be attached in our mount namespace."""


def overlay_root(
    lower: Sequence[str],
    upper: str,
    work: str,
    user_namespace: int | None,
    root_ids: tuple[int, int] = (0, 0),
    *,
    leave_open: bool = False,
) -> int:
    """A detached overlay of `lower` (highest first) under `upper`.

    `user_namespace` is the descriptor whose maps the layers get, None for none; `root_ids` are the host's uid and gid
    of the container's root: overlay makes its working directory as this user, whom the mapped layers know. The last
    close of a layer's mount waits for all processors: with `leave_open`, a process about to end leaves it to its end.
    """
    if not lower:
        raise ProcessFailed("an overlay needs at least one layer", step="overlay")
    with ExitStack() as stack, step("overlay"):
        base, parts = _split_common(upper, work)
        trees = [_layer(path, user_namespace, stack) for path in (base, *lower)]
        try:
            prctl.set_securebits(prctl.SECBIT_NO_SETUID_FIXUP)
            prctl.set_file_system_ids(*root_ids)
            mounted = _mount_detached(trees, parts) if has_detached_layers() else _mount_attached(trees, parts)
        finally:
            prctl.set_file_system_ids(0, 0)
            prctl.set_securebits(0)
        if leave_open:
            stack.pop_all()
        return mounted


def overlay_image(layers: Sequence[str], user_namespace: int | None) -> int:
    """A detached read-only tree of `layers` (highest first), each id-mapped: an image without a container's changes."""
    if not layers:
        raise ProcessFailed("an image needs at least one layer", step="overlay")
    with ExitStack() as stack, step("overlay"):
        trees = [_layer(path, user_namespace, stack) for path in layers]
        if len(trees) == 1:
            mounted = os.dup(trees[0])
        elif has_detached_layers():
            mounted = _mount_detached(trees, None)
        else:
            mounted = _mount_attached(trees, None)
        mount.mount_setattr(mounted, mount.MOUNT_ATTR_RDONLY)
        return mounted


@cache
def has_detached_layers() -> bool:
    """Whether this kernel's overlay takes layers that are attached nowhere."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor)) >= FIRST_KERNEL_WITH_DETACHED_LAYERS


def _split_common(upper: str, work: str) -> tuple[str, tuple[str, str]]:
    # upper and work must lie on one mount, hence one mapped copy of their common parent
    if os.path.dirname(upper) == os.path.dirname(work):
        return os.path.dirname(upper), (os.path.basename(upper), os.path.basename(work))
    base = os.path.commonpath((upper, work))
    return base, (os.path.relpath(upper, base), os.path.relpath(work, base))


def _layer(path: str, user_namespace: int | None, stack: ExitStack) -> int:
    with step("layer", path):
        tree = mount.open_tree(mount.AT_FDCWD, path)
        stack.callback(os.close, tree)
    if user_namespace is not None:
        with step(ID_MAP, path):
            _map_ids(tree, user_namespace)
    return tree


def _map_ids(tree: int, user_namespace: int) -> None:
    try:
        mount.mount_setattr(tree, mount.MOUNT_ATTR_IDMAP, user_namespace=user_namespace)
    except OSError as error:
        # tmpfs before Linux 6.3, and what never can
        if error.errno != errno.EINVAL:
            raise
        device = os.fstat(tree).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        kind = next((mounted.fstype for mounted in read_mountinfo() if mounted.device == number), "its file system")
        raise OSError(errno.EINVAL, f"this kernel cannot id-map {kind}") from error


def _mount_detached(trees: list[int], parts: tuple[str, str] | None) -> int:
    """`parts`: upper and work below the first tree; None where all trees are lower layers."""
    context = mount.fsopen("overlay")
    try:
        mount.fsconfig_string(context, "source", "trimtab")
        for tree in trees[1:] if parts else trees:
            mount.fsconfig_string(context, "lowerdir+", f"/proc/self/fd/{tree}")
        if parts:
            mount.fsconfig_string(context, "upperdir", f"/proc/self/fd/{trees[0]}/{parts[0]}")
            mount.fsconfig_string(context, "workdir", f"/proc/self/fd/{trees[0]}/{parts[1]}")
        for key, value in OPTIONS.items():
            mount.fsconfig_string(context, key, value)
        return mount.fsmount(context)
    finally:
        os.close(context)


def _mount_attached(trees: list[int], parts: tuple[str, str] | None) -> int:
    """The same before Linux 6.15: in a mount namespace that lasts as long as this call."""
    before = namespaces.open_namespace("self", "mount")
    directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mount.mount("", "/", flags=mount.MS_REC | mount.MS_PRIVATE)
        return _mount_by_names(trees, parts)
    finally:
        namespaces.setns(before, namespaces.CLONE_NEWNS)
        os.fchdir(directory)
        os.close(directory)
        os.close(before)


def _mount_by_names(trees: list[int], parts: tuple[str, str] | None) -> int:
    # the option page holds 4,096 bytes: a name of a few digits each leaves room for overlay's limit of 500 layers
    mount.mount("tmpfs", "/tmp", "tmpfs", data="mode=700")
    os.chdir("/tmp")
    for number, tree in enumerate(trees):
        os.mkdir(str(number))
        mount.move_mount(tree, mount.AT_FDCWD, str(number))
    os.mkdir("root")
    options = ",".join(f"{key}={value}" for key, value in OPTIONS.items())
    lower = ":".join(str(number) for number in range(1 if parts else 0, len(trees)))
    upper = f",upperdir=0/{parts[0]},workdir=0/{parts[1]}" if parts else ""
    data = f"{options},lowerdir={lower}{upper}"
    if len(data) >= os.sysconf("SC_PAGE_SIZE"):
        raise OSError(errno.E2BIG, "too many layers for one overlay")
    mount.mount("trimtab", "root", "overlay", data=data)
    return mount.open_tree(mount.AT_FDCWD, "root")
