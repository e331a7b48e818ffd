"""Digests at this room's border: what is none is Refused. Called wherever a digest arrives from outside."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from schemas.errors import Refused
from schemas.reference import is_digest, parse_digest

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["digest_of", "is_digest", "new_hash", "split_digest"]


def split_digest(digest: str) -> tuple[str, str]:
    """`("sha256", hex)`. Raises Refused: a digest becomes a file name, so nothing else may pass."""
    try:
        return parse_digest(digest)
    except ValueError as error:
        raise Refused(
            f"{digest[:160]!r} is not a digest",
            step="read digest",
            hint="a digest is sha256: and 64 lower-case hexadecimal digits, or sha512: and 128",
        ) from error


def new_hash(algorithm: str = "sha256") -> _Hash:
    """An empty hash of a registered algorithm."""
    return hashlib.new(algorithm, usedforsecurity=True)


def digest_of(content: bytes) -> str:
    """The sha256 digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
