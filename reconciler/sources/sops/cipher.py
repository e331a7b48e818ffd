"""How SOPS encrypts one value, and what its MAC is made of.

A value is AES-256-GCM under the file's data key, with the path to it as additional data, so that none can be moved to
another place. The MAC is SHA-512 over every value in the order of the file, itself encrypted with the time of the last
change: a value that was removed, added or changed is found. (getsops/sops: `aes/cipher.go`, `sops.go`)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VALUE = re.compile(r"ENC\[AES256_GCM,data:(?P<data>[^,]+),iv:(?P<iv>[^,]+),tag:(?P<tag>[^,]+),type:(?P<type>[a-z]+)\]")
_ONLY_ENCRYPTED = bytes.fromhex("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")
"""Begins the MAC where it covers encrypted values only."""


class NotSealed(ValueError):
    """A value cannot be decrypted. The message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Value:
    """A decrypted value as text, and its type: str, int, float, bool, bytes, time or comment."""

    text: str
    type: str

    @property
    def counted(self) -> bytes:
        """What the MAC counts of it."""
        return counted(self.text, self.type)


def open_value(sealed: str, key: bytes, path: Sequence[str]) -> Value:
    """Raises NotSealed for what is not encrypted, changed, moved, or encrypted with another key."""
    if not sealed:
        return Value("", "str")
    additional = "".join(f"{part}:" for part in path)
    return open_with(sealed, key, additional)


def open_with(sealed: str, key: bytes, additional: str) -> Value:
    found = _VALUE.fullmatch(sealed)
    if found is None:
        raise NotSealed("is not encrypted, though it should be")
    try:
        data, iv, tag = (base64.b64decode(found[name], validate=True) for name in ("data", "iv", "tag"))
        opened = AESGCM(key).decrypt(iv, data + tag, additional.encode())
        return Value(opened.decode(), found["type"])
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise NotSealed("cannot be decrypted: it was changed, or moved here from elsewhere") from error


def counted(text: str, type: str) -> bytes:
    """A value as the MAC counts it: numbers and truth values as Go writes them."""
    if type == "bool":
        return b"True" if text.lower() == "true" else b"False"
    if type == "float":
        return _without_exponent(text).encode()
    return text.encode(errors="surrogateescape")


def _without_exponent(text: str) -> str:
    try:
        plain = format(Decimal(repr(float(text))), "f")
    except (ValueError, InvalidOperation):
        return text
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def is_authentic(values: Iterable[bytes], sealed_mac: str, modified: str, key: bytes, *, only_encrypted: bool) -> bool:
    """Whether the file's MAC is that of `values`."""
    digest = hashlib.sha512(_ONLY_ENCRYPTED if only_encrypted else b"")
    for value in values:
        digest.update(value)
    try:
        mac = open_with(sealed_mac, key, modified).text
    except NotSealed:
        return False
    return hmac.compare_digest(mac.upper().encode(), digest.hexdigest().upper().encode())
