"""Who may do what: names and passwords as htpasswd(1) keeps them, with bcrypt.

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

from aiohttp import web

from reconciler.daemon.log import logger
from reconciler.registry.errors import Denied
from reconciler.registry.paths import Asked, Thing
from schemas.errors import Refused

LOG = logger("registry")
READS = ("GET", "HEAD")
REMEMBERED_SECONDS = 300.0
MOST_REMEMBERED = 1000
TRIED_AT_ONCE = 2
WAITING = 32
"""Attempts beyond those are turned away."""
FILE_BYTES = 1 << 20
LONGEST_PASSWORD = 72
"""Bytes; bcrypt reads no more."""
CHALLENGE = {"WWW-Authenticate": 'Basic realm="trimtab registry", charset="UTF-8"'}


class Access:
    """Without `htpasswd` everybody may do everything, or only pull where `anonymous` says so; with it, `anonymous` is
    what somebody without a name may do."""

    def __init__(self, htpasswd: Path | None, anonymous: str = "") -> None:
        self._file = htpasswd
        self._anonymous = anonymous
        self._seen: tuple[int, int, int] | None = None
        self._hashes: Mapping[str, bytes] = {}
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, float] = {}
        self._trying = asyncio.Semaphore(TRIED_AT_ONCE)
        self._waiting = 0
        if htpasswd is not None:
            self._read_first(htpasswd)

    async def require(self, request: web.Request, asked: Asked) -> None:
        """Raises Denied, with the challenge."""
        if self._file is None:
            if self._anonymous == "pull" and not (request.method in READS and asked.thing is not Thing.UPLOAD):
                raise Denied(403, "DENIED", "nothing is pushed here")
            return
        given = request.headers.get("Authorization", "")
        if not given and self._anonymous == "pull" and _is_pull(request, asked):
            return
        if not given or not await self._accepts(given, self._file):
            raise Denied(401, "UNAUTHORIZED", "a name and a password are needed", CHALLENGE)

    async def _accepts(self, given: str, file: Path) -> bool:
        self._refresh(file)
        found = read_basic(given)
        if found is None:
            return False
        name, password = found
        kept = self._hashes.get(name)
        proof = hmac.digest(self._key, b"\0".join((name.encode(), kept or b"", password)), hashlib.sha256)
        if self._known.get(proof, 0.0) > time.monotonic():
            return True
        if not await self._is_right(password, kept):
            return False
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[proof] = time.monotonic() + REMEMBERED_SECONDS
        return True

    async def _is_right(self, password: bytes, kept: bytes | None) -> bool:
        if self._waiting >= WAITING:
            raise Denied(429, "TOOMANYREQUESTS", "too many log in at once", {"Retry-After": "5"})
        self._waiting += 1
        try:
            async with self._trying:
                return await asyncio.to_thread(matches, password, kept)
        finally:
            self._waiting -= 1

    def _read_first(self, file: Path) -> None:
        try:
            self._hashes = read_htpasswd(file)
        except OSError as error:
            raise Refused(error.strerror or str(error), step="read passwords", path=str(file)) from error

    def _refresh(self, file: Path) -> None:
        """Read the file where it changed; one that cannot be read lets nobody in."""
        try:
            stat = file.stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen != self._seen:
                self._hashes, self._seen = read_htpasswd(file), seen
        except (OSError, Refused) as error:
            LOG.warning("nobody is let in", error=str(error))
            self._hashes, self._seen = {}, None


def _is_pull(request: web.Request, asked: Asked) -> bool:
    """The first request of a client that will log in must be told to."""
    return request.method in READS and asked.thing not in (Thing.VERSION, Thing.UPLOAD)


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


def read_htpasswd(file: Path) -> dict[str, bytes]:
    """Names and their bcrypt hashes. Raises Refused for a line that holds anything else, OSError."""
    content = file.read_bytes()
    if len(content) > FILE_BYTES:
        raise Refused(f"has more than {FILE_BYTES} bytes", step="read passwords", path=str(file))
    found: dict[str, bytes] = {}
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        name, colon, hashed = line.strip().partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if not colon or not hashed.startswith(("$2y$", "$2b$", "$2a$")):
            hint = "`trimtab registry passwd` or `htpasswd -B` writes such lines"
            raise Refused(f"line {number} holds no bcrypt", step="read passwords", path=str(file), hint=hint)
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
