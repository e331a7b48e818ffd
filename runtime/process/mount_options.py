"""What the options of an OCI mount mean: attributes, propagation, recursion, and what is left for the file system.

Pure. Source: runtime-spec config.md, "Linux mount options", and the attributes of mount_setattr(2). `idmap` maps the
container's user namespace and falls back to a plain mount; `tmpcopyup` copies what the rootfs holds at the target.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from runtime.kernel import mount

ATTRIBUTES = {
    "ro": (mount.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mount.MOUNT_ATTR_RDONLY),
    "nosuid": (mount.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mount.MOUNT_ATTR_NOSUID),
    "nodev": (mount.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mount.MOUNT_ATTR_NODEV),
    "noexec": (mount.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mount.MOUNT_ATTR_NOEXEC),
    "nodiratime": (mount.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mount.MOUNT_ATTR_NODIRATIME),
    "relatime": (mount.MOUNT_ATTR_RELATIME, mount.MOUNT_ATTR__ATIME),
    "norelatime": (0, mount.MOUNT_ATTR__ATIME),
    "noatime": (mount.MOUNT_ATTR_NOATIME, mount.MOUNT_ATTR__ATIME),
    "atime": (0, mount.MOUNT_ATTR__ATIME),
    "strictatime": (mount.MOUNT_ATTR_STRICTATIME, mount.MOUNT_ATTR__ATIME),
    "nostrictatime": (0, mount.MOUNT_ATTR__ATIME),
    "nosymfollow": (mount.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mount.MOUNT_ATTR_NOSYMFOLLOW),
}
"""By option: the attributes it sets and clears. With an `r` in front, on the whole tree."""

PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "shared": mount.MS_SHARED,
    "slave": mount.MS_SLAVE,
    "unbindable": mount.MS_UNBINDABLE,
}
"""By option. With an `r` in front, on the whole tree."""

NOT_ATTRIBUTES = frozenset({"defaults", "async", "sync", "dirsync", "mand", "nomand", "silent", "loud", "remount"})
"""Accepted and without effect on a new mount of the kinds a container gets."""


@dataclass(slots=True)
class MountOptions:
    """One mount's options, sorted by who is to be told."""

    bind: bool = False
    recursive: bool = False
    set: int = 0
    clear: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    propagation: int = 0
    recursive_propagation: bool = False
    idmap: bool = False
    recursive_idmap: bool = False
    copy_up: bool = False
    data: dict[str, str | None] = field(default_factory=dict)


def parse_options(options: Iterable[str], fstype: str) -> MountOptions:
    """Sort a mount's options; unknown ones go to the file system, which refuses what it does not know."""
    made = MountOptions(bind=fstype == "bind")
    for option in options:
        if not (_is_kind(made, option) or _is_propagation(made, option) or _is_attribute(made, option)):
            key, equals, value = option.partition("=")
            made.data[key] = value if equals else None
    if made.bind:
        made.data.clear()
    return made


def options_of(entry: dict[str, Any]) -> MountOptions:
    """The options of an entry of `mounts`."""
    return parse_options(entry.get("options") or (), entry.get("type") or "")


def _is_kind(made: MountOptions, option: str) -> bool:
    if option in NOT_ATTRIBUTES:
        return True
    if option in {"bind", "rbind"}:
        made.bind = True
        made.recursive = option == "rbind"
    elif option in {"idmap", "ridmap"}:
        made.idmap = True
        made.recursive_idmap = option == "ridmap"
    elif option == "tmpcopyup":
        made.copy_up = True
    else:
        return False
    return True


def _is_propagation(made: MountOptions, option: str) -> bool:
    if option in PROPAGATION:
        made.propagation = PROPAGATION[option]
    elif option[:1] == "r" and option[1:] in PROPAGATION:
        made.propagation = PROPAGATION[option[1:]]
        made.recursive_propagation = True
    else:
        return False
    return True


def _is_attribute(made: MountOptions, option: str) -> bool:
    if option in ATTRIBUTES:
        on, off = ATTRIBUTES[option]
        made.clear = (made.clear | off) & ~on if not off & mount.MOUNT_ATTR__ATIME else made.clear | off
        made.set = (made.set & ~off) | on
    elif option[:1] == "r" and option[1:] in ATTRIBUTES:
        on, off = ATTRIBUTES[option[1:]]
        made.recursive_clear |= off
        made.recursive_set = (made.recursive_set & ~off) | on
    else:
        return False
    return True
