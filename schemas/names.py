"""Kinds, and the key that names one object on an engine: `Container/web`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

API_VERSION = "trimtab/v1"

NAME_PATTERN = r"^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$"
"""An object's name: at most 63 characters, usable as a file name and a DNS label (Kubernetes, Compose)."""


class Kind(StrEnum):
    IMAGE = "Image"
    CONTAINER = "Container"
    VOLUME = "Volume"
    NETWORK = "Network"
    SERVICE = "Service"
    SECRET = "Secret"
    CONFIG = "Config"
    SOURCE = "Source"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one object on an engine; unique per kind."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read `Kind/name`; the kind in any case, singular or plural. Raises ValueError."""
        kind, slash, name = text.partition("/")
        folded = kind.lower().removesuffix("s")
        for known in Kind:
            if slash and known.value.lower() == folded and re.fullmatch(NAME_PATTERN, name):
                return cls(known, name)
        raise ValueError(f"{text!r} is not KIND/NAME, as in container/web")
