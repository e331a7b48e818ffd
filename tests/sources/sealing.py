"""An encryptor of our own in SOPS's format, written from its documents: for data that the real one does not make."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import pyrage
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MODIFIED = "2026-11-24T12:00:00Z"


def sealed(value: str | int | bool, key: bytes, path: str) -> str:
    if value == "":
        return ""
    type = {str: "str", int: "int", bool: "bool"}[value.__class__]
    iv = os.urandom(32)
    data = AESGCM(key).encrypt(iv, plain(value), path.encode())
    parts = [base64.b64encode(part).decode() for part in (data[:-16], iv, data[-16:])]
    return f"ENC[AES256_GCM,data:{parts[0]},iv:{parts[1]},tag:{parts[2]},type:{type}]"


def plain(value: str | int | bool) -> bytes:
    return str(value).encode()


def seal(tree: Mapping[str, Any], recipient: Any, encrypted: Callable[[str], bool] = lambda _: True) -> str:
    """The tree as JSON of SOPS's form; `encrypted` tells of a key whether what is at and below it is."""
    key, digest = os.urandom(32), hashlib.sha512()

    def walk(value: Any, path: tuple[str, ...], inside: bool) -> Any:
        if isinstance(value, dict):
            return {name: walk(item, (*path, name), inside or encrypted(name)) for name, item in value.items()}
        if isinstance(value, list):
            return [walk(item, path, inside) for item in value]
        digest.update(plain(value))
        return sealed(value, key, "".join(f"{part}:" for part in path)) if inside else value

    made = walk(tree, (), False)
    copy = pyrage.encrypt(key, [recipient], armored=True)
    notes = {
        "age": [{"recipient": str(recipient), "enc": copy.decode()}],
        "lastmodified": MODIFIED,
        "mac": sealed(digest.hexdigest().upper(), key, MODIFIED),
        "version": "3.9.0",
    }
    return json.dumps({**made, "sops": notes}, indent=2)
