"""Whom to believe. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """`keys`: public keys in PEM, of which one must have signed; or the content of a list, and the key of its codes."""

    keys: tuple[bytes, ...] = ()
    listed: str = ""
    list_key: bytes = b""

    def digest(self) -> str:
        """Changes with any of it, so that an image is verified again; tells nothing of the list's key."""
        hasher = hashlib.sha256()
        for each in (*sorted(self.keys), self.listed.encode(), hashlib.sha256(self.list_key).digest()):
            hasher.update(len(each).to_bytes(8, "big") + each)
        return hasher.hexdigest()
