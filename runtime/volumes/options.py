"""A volume's driver options, read as mount(8) reads them: what to mount, with which options and attributes.

Pure. Called before the first effect, so that a wrong option is refused whole. Source: mount(8), Docker's driver
`local`. Does not touch the kernel; whether a file system knows an option only the kernel can say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.kernel import mount
from runtime.volumes.records import VolumeWanted
from schemas.errors import Refused

KNOWN = ("type", "o", "device")
MEMORY = frozenset({"tmpfs", "ramfs"})
"""File systems whose content is gone once they are unmounted."""
NETWORK = frozenset({"nfs", "nfs4"})
REMOTE = NETWORK | {"cifs", "smb3", "ceph", "9p", "fuse"}
"""File systems whose mount, and whose every file, may wait for somebody's answer."""
NFS_VERSIONS = ("4.2", "4.1", "4.0", "3")
"""In the order in which they are tried."""
MAX_VALUE = 255
"""Bytes fsconfig(2) takes."""

ATTRIBUTES: Mapping[str, tuple[int, int]] = {
    "ro": (mount.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mount.MOUNT_ATTR_RDONLY),
    "nosuid": (mount.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mount.MOUNT_ATTR_NOSUID),
    "nodev": (mount.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mount.MOUNT_ATTR_NODEV),
    "noexec": (mount.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mount.MOUNT_ATTR_NOEXEC),
    "noatime": (mount.MOUNT_ATTR_NOATIME, mount.MOUNT_ATTR__ATIME),
    "strictatime": (mount.MOUNT_ATTR_STRICTATIME, mount.MOUNT_ATTR__ATIME),
    "relatime": (mount.MOUNT_ATTR_RELATIME, mount.MOUNT_ATTR__ATIME),
    "nodiratime": (mount.MOUNT_ATTR_NODIRATIME, 0),
    "nosymfollow": (mount.MOUNT_ATTR_NOSYMFOLLOW, 0),
}
"""By option: the attributes it sets, and those it clears."""
PROPAGATION: Mapping[str, int] = {
    "private": mount.MS_PRIVATE,
    "shared": mount.MS_SHARED,
    "slave": mount.MS_SLAVE,
    "unbindable": mount.MS_UNBINDABLE,
}
FOR_OTHERS = frozenset({"defaults", "auto", "noauto", "nofail", "_netdev", "nouser", "async"})
"""What mount(8) and fstab(5) know and no mount shows."""
MOVES = frozenset({"remount", "move", "rmove", "loop"})


@dataclass(frozen=True, slots=True)
class MountWanted:
    """One mount. `bind`: `source` is a directory of the host; `options`: the superblock's, None for a flag."""

    fstype: str
    source: str
    bind: bool = False
    recursive: bool = False
    set: int = 0
    clear: int = 0
    propagation: int = 0
    options: Mapping[str, str | None] = field(default_factory=dict)


def mount_wanted(wanted: VolumeWanted) -> MountWanted | None:
    """What to mount on the volume's directory; None for a plain directory. Raises Refused."""
    given = {key: value for key, value in wanted.driver_opts.items() if value}
    unknown = sorted(set(given) - set(KNOWN))
    if unknown:
        raise _refused(wanted, f"unknown driver option {unknown[0]!r}", "known are type, o and device")
    if not given:
        return None
    words = [word for word in given.get("o", "").split(",") if word]
    if "bind" in words or "rbind" in words:
        return _bind(wanted, given, words)
    fstype = given.get("type", "none")
    if fstype in ("none", "bind"):
        raise _refused(wanted, "no file system is named", "write type, or o: bind with a device")
    if fstype not in MEMORY and "device" not in given:
        raise _refused(wanted, f"no device of the {fstype} is named", "write device")
    return _file_system(wanted, fstype, given.get("device", fstype), words)


def _bind(wanted: VolumeWanted, given: Mapping[str, str], words: list[str]) -> MountWanted:
    device = given.get("device", "")
    if not device.startswith("/"):
        raise _refused(wanted, f"{device!r} is no absolute path to bind", "write device: /a/path")
    if given.get("type", "none") not in ("none", "bind"):
        raise _refused(wanted, "a bind mount has no file system of its own", "write type: none")
    if wanted.size is not None:
        raise _refused(wanted, "a bind mount cannot be limited in size", "limit the directory it binds")
    attributes_set, cleared, propagation, options = _sorted(wanted, [w for w in words if w not in ("bind", "rbind")])
    if options:
        raise _refused(wanted, f"a bind mount takes no option {next(iter(options))!r}", "leave it out")
    recursive = "rbind" in words
    return MountWanted("none", device, True, recursive, attributes_set, cleared, propagation)


def _file_system(wanted: VolumeWanted, fstype: str, source: str, words: list[str]) -> MountWanted:
    attributes_set, cleared, propagation, options = _sorted(wanted, words)
    if attributes_set & mount.MOUNT_ATTR_RDONLY:
        options["ro"] = None
    if wanted.size is not None:
        if fstype != "tmpfs":
            raise _refused(wanted, f"a volume of type {fstype} cannot be limited in size", "limit it where it lies")
        options["size"] = str(wanted.size)
    if fstype in NETWORK and "addr" not in options and ":" in source:
        options["addr"] = source.rpartition(":/")[0].strip("[]")
    return MountWanted(fstype, source, False, False, attributes_set, cleared, propagation, options)


def versions(wanted: MountWanted) -> tuple[Mapping[str, str], ...]:
    """The options to add, one after the other until the server speaks that version of NFS: the kernel alone would take
    version 3. One that adds nothing where a version is named, and for other file systems."""
    named = any(
        key in ("vers", "nfsvers", "minorversion") or key.startswith(("v2", "v3", "v4")) for key in wanted.options
    )
    if wanted.fstype not in NETWORK or named:
        return ({},)
    return tuple({"vers": each} for each in NFS_VERSIONS if wanted.fstype == "nfs" or each.startswith("4"))


def _sorted(wanted: VolumeWanted, words: list[str]) -> tuple[int, int, int, dict[str, str | None]]:
    """(attributes set, attributes cleared, propagation, options for the file system)."""
    attributes_set = cleared = propagation = 0
    options: dict[str, str | None] = {}
    for word in words:
        if word in MOVES:
            raise _refused(wanted, f"the option {word!r} mounts nothing", "leave it out")
        if word in ATTRIBUTES:
            on, off = ATTRIBUTES[word]
            attributes_set, cleared = attributes_set & ~off | on, cleared & ~on | off
        elif word in PROPAGATION or (word[:1] == "r" and word[1:] in PROPAGATION):
            propagation = PROPAGATION[word if word in PROPAGATION else word[1:]]
        elif word not in FOR_OTHERS and not word.startswith(("x-", "comment=")):
            key, equals, value = word.partition("=")
            if len(value.encode()) > MAX_VALUE:
                raise _refused(wanted, f"the option {key!r} is longer than {MAX_VALUE} bytes", "shorten it")
            options[key] = value if equals else None
    return attributes_set, cleared, propagation, options


def _refused(wanted: VolumeWanted, message: str, hint: str) -> Refused:
    return Refused(message, object=f"Volume/{wanted.name}", step="read driver_opts", hint=hint)
