"""Whom to believe: what an image's manifest says, else what is said of its registry, whose files are read here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import Refused
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings

MOST = 16 << 20
"""Bytes of a list."""


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


def policy_of(own: Policy | None, reference: Reference, settings: RegistrySettings | None) -> Policy | None:
    """The image's own, or that of its registry. Raises Refused for a file that cannot be read: nobody is believed."""
    trust = settings.host(reference.domain).verify if settings is not None else None
    if own is not None or trust is None:
        return own
    if trust.list is not None and trust.list_key is not None:
        return Policy(listed=read_file(trust.list).decode(errors="replace"), list_key=read_file(trust.list_key).strip())
    return Policy(tuple(map(read_file, trust.keys)))


def read_file(path: Path) -> bytes:
    """A key or a list. Raises Refused."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise Refused(error.strerror or str(error), step="verify", path=str(path), errno=error.errno) from error
    if len(content) > MOST or not content.strip():
        raise Refused("is empty" if len(content) <= MOST else "is too long", step="verify", path=str(path))
    return content
