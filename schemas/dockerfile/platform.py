"""Platforms: `linux/arm64`, `linux/arm/v7`, and the other names people have for them.

Called by the stages and by the predefined arguments. Knows names, not what this machine can run.

Source: OCI image-spec, image index, "platform"; Go's GOOS and GOARCH.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ARCHITECTURES = {
    "aarch64": ("arm64", ""),
    "armel": ("arm", "v6"),
    "armhf": ("arm", "v7"),
    "i386": ("386", ""),
    "x86-64": ("amd64", ""),
    "x86_64": ("amd64", ""),
}
_KNOWN_SYSTEMS = ("linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "aix", "wasi", "js", "plan9")
_DEFAULT_VARIANTS = {("arm", ""): "v7", ("arm", "7"): "v7", ("arm", "6"): "v6", ("arm", "5"): "v5"}
_PLAIN_VARIANTS = {("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system, an architecture and its variant, in their usual names."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """`linux/amd64`, `arm64`, `linux/arm/v7`. Raises ValueError."""
        parts = text.lower().split("/")
        if not 1 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
            raise ValueError(f"{text!r} is no platform; write one as in linux/amd64")
        if len(parts) == 1:
            parts = [parts[0], "amd64"] if parts[0] in _KNOWN_SYSTEMS else ["linux", *parts]
        architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
        variant = parts[2] if len(parts) == 3 else variant
        variant = _DEFAULT_VARIANTS.get((architecture, variant), variant)
        return cls(parts[0], architecture, "" if (architecture, variant) in _PLAIN_VARIANTS else variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


LINUX = Platform("linux", "amd64")
