"""Where the command face keeps its containers: below one root directory, whatever the bundle."""

from __future__ import annotations

import os
import re
from typing import Any

from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.paths import ContainerPaths
from runtime.process.records import ProcessRecord, read_state

ID = re.compile(r"[A-Za-z0-9_+.-]+")
CGROUP_PARENT = "/trimtab-oci"


def live_directory(root: str, name: str) -> str:
    """A container's live directory. Raises ProcessFailed for an id that cannot be a file's name."""
    if not ID.fullmatch(name) or name in {".", ".."}:
        raise ProcessFailed(f"{name!r} is no container id", step="id")
    return os.path.join(os.path.abspath(root), "containers", name)


def new_paths(root: str, name: str, bundle: str, spec: dict[str, Any]) -> ContainerPaths:
    """Of a container to be made. `linux.cgroupsPath` is below each hierarchy's root, or below ours where relative."""
    live = live_directory(root, name)
    wanted = (spec.get("linux") or {}).get("cgroupsPath") or name
    cgroup = wanted if wanted.startswith("/") else f"{CGROUP_PARENT}/{wanted}"
    return ContainerPaths(name, os.path.abspath(bundle), live, os.path.normpath(cgroup), record=live)


def existing(root: str, name: str) -> tuple[ContainerPaths, ProcessRecord]:
    """Of a container that exists, with what its monitor wrote last. Raises NotRunning."""
    live = live_directory(root, name)
    state = read_state(live)
    if state is None:
        raise NotRunning(f"container {name!r} does not exist", step="find")
    return ContainerPaths(name, state.bundle, live, state.cgroup, record=live), state
