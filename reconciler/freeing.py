"""Which images to let go of when the disk fills: kubelet's high and low watermarks. Pure; the clock is an argument.

Below the high mark nothing goes. Above it the oldest images that nobody uses go, until as much is free as the low mark
asks for; one younger than the least age never goes.

Source: Kubernetes, "Garbage collection of unused images" (ImageGCHighThresholdPercent, ImageGCLowThresholdPercent,
ImageMinimumGCAge).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marks:
    """Shares of the file system, 0 to 1, and seconds."""

    high: float = 0.85
    low: float = 0.80
    least_age: float = 120.0


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of the file system that the engine's root lies on; `used` as df(1) counts it."""

    total: int
    used: int

    @property
    def share(self) -> float:
        return self.used / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Unused:
    """An image that no manifest names and no container uses. `bytes`: what goes with it and with nothing else;
    `since` in seconds since the epoch."""

    name: str
    bytes: int
    since: float


def is_full(disk: Disk, marks: Marks) -> bool:
    """Whether anything has to go at all."""
    return disk.share >= marks.high


def to_let_go(disk: Disk, lost: int, unused: Iterable[Unused], marks: Marks, now: float) -> tuple[str, ...]:
    """Names of images, the oldest first. `lost`: bytes that are freed anyway, since nothing names them."""
    if not is_full(disk, marks):
        return ()
    missing = disk.used - lost - int(disk.total * marks.low)
    chosen: list[str] = []
    for image in sorted(unused, key=lambda each: (each.since, each.name)):
        if missing <= 0:
            break
        if now - image.since >= marks.least_age:
            chosen.append(image.name)
            missing -= image.bytes
    return tuple(chosen)
