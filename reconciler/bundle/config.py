"""One container's `config.json` (OCI runtime-spec 1.3), put together from its parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.bundle.linux import linux
from reconciler.bundle.mounts import Sources, mounts
from reconciler.bundle.process import process
from reconciler.bundle.user import User
from runtime.images.config import ImageConfig
from schemas.container import ContainerSpec

OCI_VERSION = "1.2.0"

MAX_LOG_BYTES, MAX_LOG_FILES = 20 << 20, 5
"""Rotation that is on by default: 100 MB of a container's output are kept (Docker's `local` driver)."""


@dataclass(frozen=True, slots=True)
class Materials:
    """What a bundle is made of besides the manifest."""

    name: str
    bundle: Path
    cgroup: str
    image: ImageConfig
    layers: Sequence[Path]
    environment: Mapping[str, str]
    user: User
    sources: Sources
    id_base: int | None = None
    joined: Mapping[str, Path] = field(default_factory=dict)
    hooks: Sequence[Mapping[str, Any]] = ()


def config(spec: ContainerSpec, materials: Materials) -> dict[str, Any]:
    """The document. Raises Refused for what only shows now: no command, no such user, no such device."""
    made: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process(spec, materials.image, materials.environment, materials.user),
        "root": {"path": "rootfs", "readonly": spec.read_only},
        "mounts": mounts(spec, materials.sources),
        "linux": linux(spec, materials.cgroup, materials.id_base, materials.joined),
        "annotations": _annotations(spec, materials),
    }
    if spec.uts != "host":
        made["hostname"] = spec.hostname or materials.name
        if spec.domainname:
            made["domainname"] = spec.domainname
    if materials.hooks:
        made["hooks"] = {"poststop": [dict(hook) for hook in materials.hooks]}
    return made


def _annotations(spec: ContainerSpec, materials: Materials) -> dict[str, str]:
    """The manifest's own, then the runtime's private extensions."""
    rootfs = {
        "lower": [str(layer) for layer in materials.layers],
        "upper": str(materials.bundle / "upper"),
        "work": str(materials.bundle / "work"),
    }
    made = dict(spec.annotations) | {
        "trimtab/rootfs": json.dumps(rootfs),
        "trimtab/log": json.dumps(_log(spec, materials)),
    }
    if spec.stdin_open:
        made["trimtab/stdin_open"] = "true"
    if spec.init:
        made["trimtab/init"] = "true"
    return made


def _log(spec: ContainerSpec, materials: Materials) -> dict[str, Any]:
    log = {"driver": "local", "directory": str(materials.bundle / "log")}
    rotation = {"max_size": MAX_LOG_BYTES, "max_file": MAX_LOG_FILES}
    if spec.logging is not None:
        log["driver"] = spec.logging.driver
    return log | rotation
