"""One container's `config.json` (OCI runtime-spec 1.3), put together from its parts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.bundle.linux import linux
from reconciler.bundle.mounts import Sources, mounts
from reconciler.bundle.process import process
from reconciler.bundle.user import User
from runtime.images.config import ImageConfig
from runtime.process import farewell
from schemas.container import ContainerSpec
from schemas.log_files import Logging

OCI_VERSION = "1.2.0"

IMAGE_ANNOTATION = "trimtab/image"
"""The digest of the image that a bundle was made of."""

MAX_LOG_BYTES, MAX_LOG_FILES = 20 << 20, 5
"""Rotation that is on by default: 100 MB of a container's output are kept (Docker's `local` driver)."""


@dataclass(frozen=True, slots=True)
class Materials:
    """What a bundle is made of besides the manifest."""

    name: str
    bundle: Path
    cgroup: str
    image: ImageConfig
    image_digest: str
    layers: Sequence[Path]
    environment: Mapping[str, str]
    user: User
    sources: Sources
    limits: Mapping[str, Any] = field(default_factory=dict)
    apparmor: str | None = None
    id_base: int | None = None
    joined: Mapping[str, Path] = field(default_factory=dict)
    hooks: Sequence[Mapping[str, Any]] = ()
    farewell: str = ""


def config(spec: ContainerSpec, materials: Materials) -> dict[str, Any]:
    """The document. Raises Refused for what only shows now: no command, no such user, no such device."""
    hostname = spec.hostname or (materials.name if spec.uts != "host" else os.uname().nodename)
    made: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process(spec, materials.image, materials.environment, materials.user, hostname),
        "root": {"path": "rootfs", "readonly": spec.read_only},
        "mounts": mounts(spec, materials.sources),
        "linux": linux(spec, materials.cgroup, materials.limits, materials.id_base, materials.joined),
        "annotations": _annotations(spec, materials),
    }
    if materials.apparmor is not None:
        made["process"]["apparmorProfile"] = materials.apparmor
    if spec.uts != "host":
        made["hostname"] = hostname
        if spec.domainname:
            made["domainname"] = spec.domainname
    if materials.hooks:
        made["hooks"] = {"poststop": [dict(hook) for hook in materials.hooks]}
    return made


def image_digest(document: Mapping[str, Any]) -> str | None:
    """Of the image that a bundle with this `config.json` was made of; None where it does not say."""
    found: str | None = document.get("annotations", {}).get(IMAGE_ANNOTATION)
    return found


def _annotations(spec: ContainerSpec, materials: Materials) -> dict[str, str]:
    """The manifest's own, then the runtime's private extensions."""
    rootfs = {
        "lower": [str(layer) for layer in materials.layers],
        "upper": str(materials.bundle / "upper"),
        "work": str(materials.bundle / "work"),
    }
    made = dict(spec.annotations) | {
        "trimtab/rootfs": json.dumps(rootfs),
        IMAGE_ANNOTATION: materials.image_digest,
        "trimtab/log": json.dumps(_log(spec, materials)),
        farewell.ANNOTATION: materials.farewell,
    }
    if spec.stdin_open:
        made["trimtab/stdin_open"] = "true"
    if spec.init:
        made["trimtab/init"] = "true"
    return made


def _log(spec: ContainerSpec, materials: Materials) -> dict[str, Any]:
    driver = spec.logging.driver if spec.logging is not None else "local"
    max_size, max_file = rotation(spec)
    return {
        "driver": driver,
        "directory": str(materials.bundle / "log"),
        "max_size": max_size,
        "max_file": max_file,
    }


def rotation(spec: ContainerSpec) -> tuple[int, int]:
    """Bytes at which a log file is put aside, and how many files are kept."""
    options = (spec.logging or Logging()).options
    return options.max_size or MAX_LOG_BYTES, options.max_file or MAX_LOG_FILES
