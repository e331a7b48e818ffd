"""Whether a webhook comes from who knows the source's secret: GitHub, Gitea, GitLab, and anyone who signs like them.

Pure; the daemon serves `/hooks/SOURCE` and asks here. A webhook says nothing but "look now": what it carries is not
read, so that the worst a stolen secret is good for is a fetch.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

MOST_BODY = 1 << 20
"""Bytes; what is longer is to be refused unread."""
SHORTEST_SECRET = 8
"""Bytes; a shorter one could be guessed."""
TOLERANCE = 300.0
"""Seconds that a signed time may be off."""
HEX = ("x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature", "x-gogs-signature", "x-signature-256")
"""Headers with an HMAC-SHA-256 of the body in hexadecimal, some with `sha256=` before it."""
TOKEN = "x-gitlab-token"
STANDARD = ("webhook-id", "webhook-timestamp", "webhook-signature")
"""Standard Webhooks, which GitLab sends too: an HMAC-SHA-256 of id, time and body."""


def is_authentic(headers: Mapping[str, str], body: bytes, secret: bytes, now: float) -> bool:
    """Whether the request proves to know `secret`. `now` in seconds since the epoch. Every proof that is there must
    hold, and there must be one."""
    if len(secret) < SHORTEST_SECRET:
        return False
    given = {name.lower(): value.strip() for name, value in headers.items()}
    proofs = [_is_signed(given[name], body, secret) for name in HEX if name in given]
    if TOKEN in given:
        proofs.append(hmac.compare_digest(given[TOKEN].encode(), secret))
    if STANDARD[2] in given:
        proofs.append(_is_standard(given, body, secret, now))
    return bool(proofs) and all(proofs)


def _is_signed(signature: str, body: bytes, secret: bytes) -> bool:
    wanted = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(signature.removeprefix("sha256=").lower().encode(), wanted.encode())


def _is_standard(given: Mapping[str, str], body: bytes, secret: bytes, now: float) -> bool:
    id, at, signatures = (given.get(name, "") for name in STANDARD)
    if not at.isascii() or not at.isdigit() or abs(float(at) - now) > TOLERANCE:
        return False
    signed = b".".join((id.encode(), at.encode(), body))
    wanted = base64.b64encode(hmac.new(_standard_key(secret), signed, hashlib.sha256).digest())
    versions = [signature.partition(",") for signature in signatures.split()]
    return any(hmac.compare_digest(value.encode(), wanted) for version, _, value in versions if version == "v1")


def _standard_key(secret: bytes) -> bytes:
    """Written `whsec_` and base64."""
    if not secret.startswith(b"whsec_"):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(b"whsec_"), validate=True)
    except binascii.Error:
        return secret


def is_ping(headers: Mapping[str, str]) -> bool:
    """Whether it is only tried out, and nothing was pushed."""
    given = {name.lower(): value for name, value in headers.items()}
    return given.get("x-github-event") == "ping"
