"""Nodes of the host's devices for a container with a user namespace of its own.

In it nobody may make a device node, and the host's own node belongs to a user it does not know. So a node is made for
it in its bundle, of the same device and mode, owned by the same numbers as its user namespace counts them, and bound to
its place. Which of them may be used the device cgroup decides.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.bundle.linux import IDS, device_nodes
from schemas.container import ContainerSpec


def make_nodes(spec: ContainerSpec, bundle: Path, id_base: int) -> Mapping[str, Path]:
    """Target -> node to bind there. Raises Refused for what is no device, OSError where nodes cannot be made."""
    directory = bundle / "devices"
    shutil.rmtree(directory, ignore_errors=True)
    nodes = device_nodes(spec)
    if not nodes:
        return {}
    directory.mkdir(mode=0o700)
    return {node["path"]: _make(directory / str(number), node, id_base) for number, node in enumerate(nodes)}


def _make(path: Path, node: Mapping[str, Any], id_base: int) -> Path:
    kind = {"c": 0o020000, "b": 0o060000}[node["type"]]
    os.mknod(path, kind | 0o600, os.makedev(node["major"], node["minor"]))
    os.chown(path, *_owners((node["uid"], node["gid"]), id_base))
    path.chmod(node["fileMode"])
    return path


def _owners(ids: Sequence[int], id_base: int) -> tuple[int, int]:
    """Numbers as the user namespace counts them; ids it has not got become its root."""
    uid, gid = (id_base + (number if number < IDS else 0) for number in ids)
    return uid, gid
