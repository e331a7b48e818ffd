"""How a value that SOPS has encrypted begins, and what stands for it. Light: asked of every content; decrypting is
`sops`'s."""

from __future__ import annotations

import re

from schemas.names import Key

MARK = "ENC[AES256_GCM,data:"


def variable_of(key: Key) -> str:
    """The variable that stands for an encrypted content; different for every object."""
    letters = re.sub(r"[^a-z0-9]", lambda found: f"_{ord(found[0]):x}_", key.name)
    return f"SOPS_{key.kind.value.upper()}_{letters}"


def is_sealed(content: bytes) -> bool:
    """Whether it holds a value of SOPS's form."""
    return MARK.encode() in content
