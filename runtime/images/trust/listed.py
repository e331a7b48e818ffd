"""A list of images that somebody who knows a secret has vouched for: each digest with a code of its own. Pure.

A line is `DIGEST CODE [what it is]`; the code is HMAC-SHA256 of the digest. So a list may lie anywhere, and nobody adds
to it without the key.
"""

from __future__ import annotations

import hashlib
import hmac

from schemas.errors import Refused

LEAST_KEY = 16
"""Bytes."""


def code_of(key: bytes, digest: str) -> str:
    """Raises Refused for a key that is too short."""
    if len(key.strip()) < LEAST_KEY:
        hint = "openssl rand -hex 32 makes one"
        raise Refused(f"has fewer than {LEAST_KEY} bytes", object="key", step="read", hint=hint)
    return hmac.new(key.strip(), digest.encode(), hashlib.sha256).hexdigest()


def line_of(key: bytes, digest: str, what: str) -> str:
    """To add to a list."""
    return f"{digest} {code_of(key, digest)} {what}\n"


def is_listed(key: bytes, content: str, digest: str) -> bool:
    """Whether the list vouches for the digest."""
    code = code_of(key, digest)
    lines = (line.split(None, 2) for line in content.splitlines() if line.strip() and not line.startswith("#"))
    return any(len(line) >= 2 and line[0] == digest and hmac.compare_digest(line[1], code) for line in lines)
