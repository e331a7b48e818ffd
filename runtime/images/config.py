"""What an image says about the process it is for: the OCI image config, OCI image-spec 1.1 `config.md`.

Read from strangers' bytes; written for images that we make. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.images.digests import split_digest
from runtime.images.documents import Document, canonical_json, read_document, without_empty
from runtime.images.platforms import Platform, platform_fields
from schemas.errors import Refused

MAX_CONFIG = 8 << 20
"""Bytes. Long histories make configs of some hundred kilobytes."""


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Docker's extension of the image config; times in nanoseconds, 0 where not set."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How to run the image. `exposed_ports` as written (`80/tcp`), `env` as `NAME=value`."""

    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()

    def fields(self) -> dict[str, object]:
        """As the image-spec writes it in JSON."""
        return without_empty(
            {
                "Env": self.env,
                "Cmd": self.cmd,
                "Entrypoint": self.entrypoint,
                "User": self.user,
                "WorkingDir": self.working_dir,
                "ExposedPorts": {port: {} for port in sorted(self.exposed_ports)},
                "Volumes": {path: {} for path in sorted(self.volumes)},
                "Labels": self.labels,
                "StopSignal": self.stop_signal,
                "Healthcheck": _healthcheck_fields(self.healthcheck),
                "Shell": self.shell,
                "OnBuild": self.on_build,
            }
        )


@dataclass(frozen=True, slots=True)
class ImageDocument:
    """The whole config blob: the process's part, the platform, and the diffIDs of the layers, lowest first."""

    config: ImageConfig
    platform: Platform
    diff_ids: tuple[str, ...]
    created: str = ""
    history: tuple[Mapping[str, object], ...] = ()

    def content(self) -> bytes:
        """As a blob."""
        made: dict[str, object] = {
            "config": self.config.fields(),
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
        }
        history = [dict(line) for line in self.history]
        return canonical_json(
            made | platform_fields(self.platform) | without_empty({"created": self.created, "history": history})
        )


def read_image_document(content: bytes) -> ImageDocument:
    """A config blob. Raises Refused."""
    if len(content) > MAX_CONFIG:
        raise Refused(f"is larger than {MAX_CONFIG} bytes", object="image config", step="read")
    document = read_document(content, "image config")
    rootfs = document.required("rootfs")
    if rootfs.text("type", "layers") != "layers":
        rootfs.refuse("type", "is not 'layers'")
    diff_ids = rootfs.strings("diff_ids")
    for diff_id in diff_ids:
        split_digest(diff_id)
    config = document.child("config")
    return ImageDocument(
        config=read_image_config(config) if config else ImageConfig(),
        platform=Platform(
            document.text("os", "linux"), document.text("architecture", ""), document.text("variant", "")
        ),
        diff_ids=diff_ids,
        created=document.text("created", ""),
        history=tuple(line.fields for line in document.children("history")),
    )


def read_image_config(document: Document) -> ImageConfig:
    """The `config` object. Raises Refused."""
    check = document.child("Healthcheck")
    env = document.strings("Env")
    if any("\0" in text for text in (*env, *document.strings("Cmd"), *document.strings("Entrypoint"))):
        document.refuse("Env, Cmd or Entrypoint", "holds a NUL")
    return ImageConfig(
        env=env,
        cmd=document.strings("Cmd"),
        entrypoint=document.strings("Entrypoint"),
        user=document.text("User", ""),
        working_dir=document.text("WorkingDir", ""),
        exposed_ports=document.keys("ExposedPorts"),
        volumes=document.keys("Volumes"),
        labels=document.texts("Labels"),
        stop_signal=document.text("StopSignal", ""),
        healthcheck=_read_healthcheck(check) if check else None,
        shell=document.strings("Shell"),
        on_build=document.strings("OnBuild"),
    )


def _read_healthcheck(document: Document) -> Healthcheck:
    return Healthcheck(
        test=document.strings("Test"),
        interval=document.integer("Interval", 0),
        timeout=document.integer("Timeout", 0),
        start_period=document.integer("StartPeriod", 0),
        start_interval=document.integer("StartInterval", 0),
        retries=document.integer("Retries", 0),
    )


def _healthcheck_fields(check: Healthcheck | None) -> dict[str, object] | None:
    if check is None:
        return None
    return without_empty(
        {
            "Test": check.test,
            "Interval": check.interval,
            "Timeout": check.timeout,
            "StartPeriod": check.start_period,
            "StartInterval": check.start_interval,
            "Retries": check.retries,
        }
    )
