"""age keys, and the data key of a file that was encrypted to one of them. By pyrage, which is age's own reference in
Rust."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.errors import Refused

STEP = "decrypt"
DATA_KEY = 32
"""Bytes of AES-256's key."""
Keys = tuple[Any, ...]
"""Identities of pyrage."""
NO_KEYS: Keys = ()


def read_keys(content: bytes) -> Keys:
    """The identities in a key file of age-keygen(1), or a private SSH key. Raises Refused; nothing of it is told."""
    from pyrage import IdentityError, ssh, x25519

    try:
        if b"PRIVATE KEY-----" in content:
            return (ssh.Identity.from_buffer(content),)
        lines = [line.strip() for line in content.decode(errors="replace").splitlines()]
        keys = tuple(x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#"))
    except (IdentityError, ValueError) as error:
        raise Refused("holds something that is no age key", step=STEP, hint="make one with age-keygen") from error
    if not keys:
        raise Refused("holds no age key", step=STEP, hint="make one with age-keygen")
    return keys


def open_data_key(encrypted: Iterable[str], keys: Keys, name: str) -> bytes:
    """The data key, from whichever of its copies one of `keys` opens. Raises Refused when none does."""
    from pyrage import DecryptError, decrypt

    if not keys:
        hint = "give the source's decrypt: a Secret or file with age keys"
        raise Refused("is encrypted with SOPS, and the source has no keys", step=STEP, path=name, hint=hint)
    for copy in encrypted:
        try:
            key = bytes(decrypt(copy.encode(), list(keys)))
        except DecryptError:
            continue
        if len(key) == DATA_KEY:
            return key
    hint = "encrypt it for the source's key too (sops updatekeys)"
    raise Refused("is not encrypted for any of the source's age keys", step=STEP, path=name, hint=hint)
