"""Which machine an image is for, and which entry of a multi-platform index fits this one.

Pure but for `machine_platform`. The order of preference is containerd's: the exact variant, then the older ones that
the same processor runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.images.documents import Document, without_empty
from schemas.errors import Refused

_MACHINES = {
    "x86_64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", "v8"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),
}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "i386": "386", "aarch64": "arm64", "armhf": "arm", "armel": "arm"}
_ALIAS_VARIANTS = {"armhf": "v7", "armel": "v6"}


@dataclass(frozen=True, slots=True)
class Platform:
    """OCI image-spec 1.1, image index, `platform`."""

    os: str = "linux"
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read Compose's `os[/arch[/variant]]`. Raises Refused."""
        parts = text.strip().lower().split("/")
        if len(parts) > 3 or not all(parts):
            raise Refused(f"{text!r} is not a platform", step="read platform", hint="write it as linux/arm64/v8")
        here = machine_platform()
        if len(parts) == 1 and parts[0] != "linux":
            parts = ["linux", parts[0]]
        system, architecture, variant = (*parts, "", "")[:3]
        if not architecture:
            return cls(system, here.architecture, here.variant)
        return cls(system, architecture, variant).canonical()

    def canonical(self) -> Platform:
        """One spelling: `aarch64` is `arm64`, whose variant is v8 unless said."""
        architecture = _ALIASES.get(self.architecture, self.architecture)
        variant = self.variant or _ALIAS_VARIANTS.get(self.architecture, "")
        if architecture == "arm64" and not variant:
            variant = "v8"
        if architecture == "arm" and not variant:
            variant = "v7"
        if architecture == "amd64" and variant == "v1":
            variant = ""
        return Platform(self.os, architecture, variant)


def machine_platform() -> Platform:
    """This machine's platform, by uname(2)."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def acceptable(wanted: Platform) -> list[Platform]:
    """What a machine of that platform runs, best first."""
    wanted = wanted.canonical()
    older: list[str] = []
    if wanted.architecture in ("amd64", "arm") and wanted.variant[1:].isdigit():
        lowest = 5 if wanted.architecture == "arm" else 1
        older = [f"v{number}" for number in range(int(wanted.variant[1:]) - 1, lowest - 1, -1)]
    best = [wanted] + [Platform(wanted.os, wanted.architecture, variant).canonical() for variant in older]
    if wanted.architecture == "arm64":
        best += [Platform(wanted.os, "arm", variant) for variant in ("v8", "v7", "v6", "v5")]
    return best


def choose(offered: Iterable[Platform | None], wanted: Platform) -> int | None:
    """Index of the best of `offered`, or None. An entry without a platform is taken only where nothing else fits."""
    canonical = [platform.canonical() if platform else None for platform in offered]
    for fit in acceptable(wanted):
        if fit in canonical:
            return canonical.index(fit)
    unnamed = [index for index, platform in enumerate(canonical) if platform is None]
    return unnamed[0] if len(unnamed) == 1 else None


def read_platform(document: Document | None) -> Platform | None:
    """None where it names no architecture (image-spec, image-index.md)."""
    if document is None or not document.text("architecture", ""):
        return None
    return Platform(document.text("os", ""), document.text("architecture"), document.text("variant", ""))


def platform_fields(platform: Platform) -> dict[str, object]:
    """The inverse of `read_platform`."""
    return without_empty({"os": platform.os, "architecture": platform.architecture, "variant": platform.variant})
