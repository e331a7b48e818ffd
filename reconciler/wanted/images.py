"""What the image room is asked for."""

from __future__ import annotations

from pathlib import Path

from reconciler.images.trusting import read_policy
from runtime.images.config import Healthcheck, ImageConfig
from runtime.images.ensure import ImageWanted
from runtime.images.platforms import Platform
from schemas.healthcheck import Healthcheck as HealthcheckSpec
from schemas.image import ImageConfig as ConfigSpec
from schemas.image import ImageSpec

NANOSECONDS = 1_000_000_000


def image_wanted(name: str, spec: ImageSpec) -> ImageWanted:
    """A manifest in the words of the images' room. Raises Refused for a key of `verify` that cannot be read."""
    return ImageWanted(
        name=name,
        ref=spec.ref,
        archive=Path(spec.archive) if spec.archive else None,
        rootfs=Path(spec.rootfs) if spec.rootfs else None,
        build=spec.build.context if spec.build is not None else None,
        config=_config(spec.config) if spec.config else ImageConfig(),
        pull_policy=spec.pull_policy or "missing",
        platform=_platform(spec.platform) if spec.platform else None,
        policy=read_policy(spec.verify) if spec.verify is not None else None,
    )


def _config(spec: ConfigSpec) -> ImageConfig:
    return ImageConfig(
        env=tuple(f"{name}={value}" for name, value in spec.env.items() if value is not None),
        cmd=spec.cmd,
        entrypoint=spec.entrypoint,
        user=spec.user or "",
        working_dir=spec.working_dir or "",
        exposed_ports=spec.exposed_ports,
        volumes=spec.volumes,
        labels=dict(spec.labels),
        stop_signal=spec.stop_signal or "",
        healthcheck=_healthcheck(spec.healthcheck) if spec.healthcheck else None,
    )


def _healthcheck(spec: HealthcheckSpec) -> Healthcheck:
    def nanoseconds(seconds: float | None) -> int:
        return round((seconds or 0) * NANOSECONDS)

    return Healthcheck(
        test=spec.test or (),
        interval=nanoseconds(spec.interval),
        timeout=nanoseconds(spec.timeout),
        start_period=nanoseconds(spec.start_period),
        start_interval=nanoseconds(spec.start_interval),
        retries=spec.retries or 0,
    )


def _platform(text: str) -> Platform:
    os, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    return Platform(os, architecture, variant)
