"""Tokens that stand for a password for a few minutes: signed by this process, believed by it alone.

A token is a JWT (RFC 7519, HS256) of the claims that distribution's token authentication names; the key is of the
process's own, so that a restart ends them all. What a token grants is held against the rules again at each request.

Source: distribution, "Token Authentication Specification", "Token Scope Documentation".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from reconciler.registry.rights import RIGHTS, Visitor
from runtime.images.hosted.names import is_repository

LIFE_SECONDS = 300
MOST_SCOPES = 50
LONGEST = 16 << 10
HEADER = {"typ": "JWT", "alg": "HS256"}
_SCOPE = re.compile(r"repository(?:\([^)]*\))?:([^:]+):([a-z,*]+)", re.ASCII)

Granted = tuple[tuple[str, frozenset[str]], ...]


def granted(scopes: Iterable[str], visitor: Visitor) -> Granted:
    """Of what was asked for what the visitor may; other resources than repositories are passed over."""
    found = []
    for scope in [each for text in scopes for each in text.split()][:MOST_SCOPES]:
        asked = _SCOPE.fullmatch(scope)
        if asked is None or not is_repository(asked[1]):
            continue
        actions = RIGHTS if "*" in asked[2] else frozenset(asked[2].split(","))
        if rights := actions & visitor.rights(asked[1]):
            found.append((asked[1], rights))
    return tuple(found)


class Tokens:
    """Makes and reads them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def answer(self, name: str, may: Granted, audience: str) -> dict[str, object]:
        """What the token endpoint says."""
        now = int(time.time())
        access = [{"type": "repository", "name": each, "actions": sorted(rights)} for each, rights in may]
        claims = {"iss": "trimtab", "sub": name, "aud": audience, "iat": now, "nbf": now, "exp": now + LIFE_SECONDS}
        token = self.signed(claims | {"jti": secrets.token_hex(8), "access": access})
        issued = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
        return {"token": token, "access_token": token, "expires_in": LIFE_SECONDS, "issued_at": issued}

    def signed(self, claims: dict[str, object]) -> str:
        """As a JWT."""
        text = f"{_packed(HEADER)}.{_packed(claims)}"
        return f"{text}.{_base64(self._sign(text))}"

    def read(self, token: str) -> tuple[str, Granted] | None:
        """The name and what it was granted; None for one that is not ours, or that has expired."""
        text, _, signature = token.rpartition(".")
        if len(token) > LONGEST or not token.isascii() or not hmac.compare_digest(_base64(self._sign(text)), signature):
            return None
        try:
            claims = json.loads(_unpacked(text.partition(".")[2]))
        except (ValueError, binascii.Error):
            return None
        if time.time() >= claims["exp"]:
            return None
        return claims["sub"], tuple((each["name"], frozenset(each["actions"])) for each in claims["access"])

    def _sign(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(), hashlib.sha256)


def _packed(document: object) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
