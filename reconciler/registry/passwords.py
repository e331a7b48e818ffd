"""Names and passwords as htpasswd(1) keeps them, with bcrypt.

A password that was right is remembered for a while as a keyed digest, since bcrypt takes a processor's time by intent
and a push asks dozens of times. Wrong ones are tried a few at once, and no faster for a name that nobody has.

Source: RFC 7617 (Basic); Apache's htpasswd.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from reconciler.registry.errors import Denied
from reconciler.registry.watched import Watched
from schemas.errors import Refused

REMEMBERED_SECONDS = 300.0
MOST_REMEMBERED = 1000
TRIED_AT_ONCE = 2
WAITING = 32
"""Attempts beyond those are turned away."""
LONGEST_PASSWORD = 72
"""Bytes; bcrypt reads no more."""


class Passwords:
    """Those of the file as it is now; one that cannot be read lets nobody in."""

    def __init__(self, file: Path) -> None:
        """Raises Refused."""
        self._hashes: Watched[Mapping[str, bytes]] = Watched(file, "read passwords", read_hashes, {})
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, float] = {}
        self._trying = asyncio.Semaphore(TRIED_AT_ONCE)
        self._waiting = 0

    async def name_of(self, given: str) -> str:
        """Whose name and password an Authorization header shows; "" where they are not right. Raises Denied."""
        found = read_basic(given)
        if found is None:
            return ""
        name, password = found
        kept = self._hashes.now().get(name)
        proof = hmac.digest(self._key, b"\0".join((name.encode(), kept or b"", password)), hashlib.sha256)
        if self._known.get(proof, 0.0) > time.monotonic():
            return name
        if not await self._is_right(password, kept):
            return ""
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[proof] = time.monotonic() + REMEMBERED_SECONDS
        return name

    def has(self, name: str) -> bool:
        """Whether the file still has somebody of that name."""
        return name in self._hashes.now()

    async def _is_right(self, password: bytes, kept: bytes | None) -> bool:
        if self._waiting >= WAITING:
            raise Denied(429, "TOOMANYREQUESTS", "too many log in at once", {"Retry-After": "5"})
        self._waiting += 1
        try:
            async with self._trying:
                return await asyncio.to_thread(matches, password, kept)
        finally:
            self._waiting -= 1


def read_basic(given: str) -> tuple[str, bytes] | None:
    """Name and password of an Authorization header."""
    scheme, _, encoded = given.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon and len(password) <= LONGEST_PASSWORD else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def read_hashes(text: str) -> dict[str, bytes]:
    """Names and their bcrypt hashes. Raises Refused for a line that holds anything else."""
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, hashed = line.strip().partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if not colon or not hashed.startswith(("$2y$", "$2b$", "$2a$")):
            hint = "`trimtab registry passwd` or `htpasswd -B` writes such lines"
            raise Refused(f"line {number} holds no bcrypt", step="read passwords", hint=hint)
        found[name] = hashed.encode()
    return found


def matches(password: bytes, kept: bytes | None) -> bool:
    """Whether it is the password; as slow for nobody's."""
    import bcrypt

    try:
        right = bcrypt.checkpw(password, kept or _nobody())
    except ValueError:
        return False
    return right and kept is not None


_NOBODY: list[bytes] = []


def _nobody() -> bytes:
    """Made once: a hash that no password has."""
    import bcrypt

    if not _NOBODY:
        _NOBODY.append(bcrypt.hashpw(secrets.token_hex(16).encode(), bcrypt.gensalt(10)))
    return _NOBODY[0]
