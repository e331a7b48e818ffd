"""Digests as the OCI image-spec writes them: `sha256:<64 lower-case hex>`; sha512 too.

Called wherever a digest arrives from outside (a manifest, a file name, a command line). Holds no files.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from schemas.errors import Refused

if TYPE_CHECKING:
    from hashlib import _Hash

_PATTERN = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})", re.ASCII)


def is_digest(text: str) -> bool:
    """Whether `text` is a whole, canonical digest of an algorithm that this engine accepts."""
    return _PATTERN.fullmatch(text) is not None


def split_digest(digest: str) -> tuple[str, str]:
    """`("sha256", hex)`. Raises Refused: a digest becomes a file name, so nothing else may pass."""
    if not is_digest(digest):
        raise Refused(
            f"{digest[:160]!r} is not a digest",
            step="read digest",
            hint="a digest is sha256: and 64 lower-case hexadecimal digits, or sha512: and 128",
        )
    algorithm, _, encoded = digest.partition(":")
    return algorithm, encoded


def new_hash(algorithm: str = "sha256") -> _Hash:
    """An empty hash of a registered algorithm."""
    return hashlib.new(algorithm, usedforsecurity=True)


def digest_of(content: bytes) -> str:
    """The sha256 digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
