"""The `linux` of a bundle (OCI runtime-spec, config-linux.md): namespaces, mappings, limits, devices, what is hidden.

A user namespace of its own for every container unless the manifest says `userns_mode: host` or `privileged`. Pure, but
for the devices it looks at and the default seccomp profile, which the kernel's room makes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.bundle.process import capabilities
from reconciler.kinds.endpoints import interface_of
from runtime.kernel.seccomp_default import default_profile
from runtime.process import oci_spec
from schemas.container import ContainerSpec
from schemas.errors import Refused

IDS = 65_536
"""Ids of a container's own user namespace."""

MASKED = (*oci_spec.MASKED, "/proc/interrupts")
"""What Docker hides: beside the usual, what tells when somebody else types or sends."""

DEFAULT_DEVICES = (
    *(("c", 1, minor) for minor in (3, 5, 7, 8, 9)),  # null zero full random urandom
    *(("c", 5, minor) for minor in (0, 1, 2)),  # tty console ptmx
    ("c", 136, None),  # pts
)
"""Devices every container may use (config-linux.md, Default Devices)."""

OWN_PLACES = frozenset(map(Path, ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/console", "/dev/ptmx", "/dev/tty")))

Joined = Mapping[str, Path]
"""Namespace type -> path of the namespace to enter instead of a new one."""


def linux(
    spec: ContainerSpec, cgroup: str, limits: Mapping[str, Any], id_base: int | None, joined: Joined
) -> dict[str, Any]:
    """`limits` as `kinds.limits` has them. `id_base`: the first host id of the container's user namespace, its own or
    joined, None for the host's; then device nodes are bound by the mounts and none is made here."""
    made: dict[str, Any] = {
        "cgroupsPath": cgroup,
        "namespaces": namespaces(spec, id_base is not None, joined),
        "resources": {**limits, "devices": device_rules(spec)},
        "devices": device_nodes(spec) if id_base is None else [],
        "sysctl": {name: value for name, value in spec.sysctls.items() if interface_of(name) is None},
        # of / alone: what is mounted below has each its own
        "rootfsPropagation": "private",
    }
    if id_base is not None:
        mapping = [{"containerID": 0, "hostID": id_base, "size": IDS}]
        made |= {"uidMappings": mapping, "gidMappings": mapping}
    if not spec.privileged and not spec.security.unmasked_paths:
        made |= {"maskedPaths": list(MASKED), "readonlyPaths": list(oci_spec.READ_ONLY)}
    if not spec.privileged and (profile := seccomp(spec)) is not None:
        made["seccomp"] = profile
    return made


def namespaces(spec: ContainerSpec, own_user: bool, joined: Joined) -> list[dict[str, str]]:
    """`linux.namespaces`: none for what is the host's; a path for what is another container's (config-linux.md,
    Namespaces)."""
    host = {
        "pid": spec.pid == "host",
        "ipc": spec.ipc == "host",
        "uts": spec.uts == "host",
        "network": spec.network_mode == "host",
        "cgroup": spec.cgroup == "host",
    }
    found: list[dict[str, str]] = [{"type": "mount"}]
    if own_user or "user" in joined:
        found.append(_namespace("user", joined))
    found += [_namespace(name, joined) for name, shared in host.items() if not shared]
    return found


def _namespace(name: str, joined: Joined) -> dict[str, str]:
    return {"type": name, "path": str(joined[name])} if name in joined else {"type": name}


def seccomp(spec: ContainerSpec) -> dict[str, Any] | None:
    """The default profile for the capabilities held, a profile from a file, or none (`seccomp=unconfined`)."""
    chosen = spec.security.seccomp
    if chosen == "unconfined":
        return None
    if chosen in (None, "default"):
        return default_profile(capabilities(spec), os.uname().machine)
    try:
        profile: dict[str, Any] = json.loads(Path(chosen).read_text())
    except (OSError, ValueError) as error:
        why, field = f"cannot read the seccomp profile: {error}", ("spec", "security_opt")
        raise Refused(why, step="seccomp", path=chosen, field=field) from error
    return profile


def device_rules(spec: ContainerSpec) -> list[dict[str, Any]]:
    """Deny all, then allow: the default devices, the manifest's, the manifest's rules. Order matters."""
    if spec.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")]
    for kind, major, minor in DEFAULT_DEVICES:
        rule: dict[str, Any] = {"allow": True, "type": kind, "major": major, "access": "rwm"}
        rules.append(rule if minor is None else {**rule, "minor": minor})
    for index, device in enumerate(spec.devices):
        for node in _nodes(index, device.source, device.target):
            numbers = {key: node[key] for key in ("type", "major", "minor")}
            rules.append({"allow": True, "access": device.permissions} | numbers)
    return rules + [_rule(text) for text in spec.device_cgroup_rules]


def device_nodes(spec: ContainerSpec) -> list[dict[str, Any]]:
    """The nodes that the manifest names; for a privileged container every one of the host's. Raises Refused."""
    found = {node["path"]: node for node in (_every_node() if spec.privileged else ())}
    for index, device in enumerate(spec.devices):
        found |= {node["path"]: node for node in _nodes(index, device.source, device.target)}
    return list(found.values())


def _every_node() -> Iterator[dict[str, Any]]:
    """Of the host's /dev, without what each container has of its own."""
    for directory, folders, names in os.walk("/dev"):
        folders[:] = [name for name in folders if Path(directory, name) not in OWN_PLACES]
        for path in (Path(directory, name) for name in names):
            if path not in OWN_PLACES and not path.is_symlink() and (node := _node(path, str(path))) is not None:
                yield node


def _nodes(index: int, source: str, target: str) -> list[dict[str, Any]]:
    """A device, or all of a directory (Docker's `--device /dev/snd`). Raises Refused, naming the entry `index`."""
    field, path = ("spec", "devices", index), Path(source)
    try:
        found = _nodes_at(path, target)
    except OSError as error:
        said = error.strerror or str(error)
        raise Refused(said, step="find the device", path=str(path), errno=error.errno, field=field) from error
    if not found:
        raise Refused("is no device, and holds none", step="find the device", path=source, field=field)
    return found


def _nodes_at(path: Path, target: str) -> list[dict[str, Any]]:
    """Raises OSError."""
    if path.is_dir():
        below = ((each, each.relative_to(path)) for each in sorted(path.rglob("*")) if not each.is_symlink())
        return [node for each, name in below if (node := _node(each, f"{target}/{name}")) is not None]
    return [node] if (node := _node(path, target)) is not None else []


def _node(source: Path, target: str) -> dict[str, Any] | None:
    """None for what is no device. Raises OSError."""
    found = source.stat()
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        return None
    return {
        "path": target,
        "type": "c" if stat.S_ISCHR(found.st_mode) else "b",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def _rule(text: str) -> dict[str, Any]:
    """`c 1:3 rwm` (cgroup-v1/devices)."""
    kind, numbers, access = text.split()
    major, _, minor = numbers.partition(":")
    rule: dict[str, Any] = {"allow": True, "access": access}
    if kind != "a":
        rule["type"] = kind
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return rule
