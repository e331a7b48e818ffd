"""What a client is told that did not get its way: the spec's codes, and a sentence.

Source: distribution-spec 1.1, "Error Codes".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from aiohttp import web

from schemas.errors import Refused, RetryLater, TrimtabError


class Denied(Exception):
    """An answer that is an error. `details`: one error each, for a code that may be told several times."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.details = tuple(details)


def unknown_name(name: str) -> Denied:
    return Denied(404, "NAME_UNKNOWN", f"there is no repository {name}")


def unknown_manifest(pin: str) -> Denied:
    return Denied(404, "MANIFEST_UNKNOWN", f"the repository has no manifest {pin}")


def unknown_blob(digest: str) -> Denied:
    return Denied(404, "BLOB_UNKNOWN", f"the repository has no blob {digest}")


def unknown_upload() -> Denied:
    return Denied(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload; it may have expired")


def unsupported(message: str) -> Denied:
    return Denied(405, "UNSUPPORTED", message)


def of_ours(error: TrimtabError, code: str) -> Denied:
    """`code`: what a refusal means here. Paths of this machine are not told."""
    what = f"{error.object} {error.message}" if error.object else error.message
    if isinstance(error, RetryLater):
        return Denied(503, "TOOMANYREQUESTS", what, {"Retry-After": "5"})
    assert isinstance(error, Refused)
    return Denied(400, code, what)


def answer(denied: Denied) -> web.Response:
    """As JSON."""
    one = {"code": denied.code, "message": denied.message[:1000]}
    errors = [one | {"detail": detail} for detail in denied.details] or [one]
    body = json.dumps({"errors": errors}).encode(errors="replace")
    return web.Response(status=denied.status, body=body, content_type="application/json", headers=denied.headers)
