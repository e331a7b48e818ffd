"""Which thing of which repository a path asks for. Pure; nothing of a path becomes a file's name.

Source: distribution-spec 1.1, "Endpoints".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from reconciler.registry.errors import Denied
from reconciler.registry.rights import ANY_VISITOR, Visitor
from runtime.images.digests import is_digest
from runtime.images.hosted.names import is_repository, is_tag


class Thing(StrEnum):
    VERSION = "version"
    CATALOG = "_catalog"
    MANIFEST = "manifests"
    BLOB = "blobs"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    TAGS = "tags"
    REFERRERS = "referrers"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Asked:
    """`pin`: the tag, digest or upload of `thing`. `visitor`: who asks."""

    thing: Thing
    name: str = ""
    pin: str = ""
    visitor: Visitor = ANY_VISITOR


_LONGEST = 4096
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([^/]*)")
_PLAIN = re.compile(r"/v2/(.+)/(manifests|blobs|referrers)/([^/]*)")
_TAGS = re.compile(r"/v2/(.+)/tags/list")


def read_path(raw: str) -> Asked:
    """`raw`: as it was sent, without a query. Raises Denied."""
    path = unquote(raw, errors="strict") if len(raw) <= _LONGEST else ""
    if path in ("/v2", "/v2/"):
        return Asked(Thing.VERSION)
    if path == "/token":
        return Asked(Thing.TOKEN)
    if path == "/v2/_catalog":
        return Asked(Thing.CATALOG)
    if found := _UPLOAD.fullmatch(path):
        name, upload = found.groups()
        return Asked(Thing.UPLOAD if upload else Thing.UPLOADS, _name(name), upload)
    if found := _TAGS.fullmatch(path):
        return Asked(Thing.TAGS, _name(found[1]))
    if found := _PLAIN.fullmatch(path):
        name, thing, pin = found.groups()
        return Asked(Thing(thing), _name(name), _pin(Thing(thing), pin))
    raise Denied(404, "UNSUPPORTED", "there is nothing at this path")


def _name(text: str) -> str:
    if not is_repository(text):
        raise Denied(400, "NAME_INVALID", f"{text[:100]!r} can name no repository")
    return text


def _pin(thing: Thing, text: str) -> str:
    if is_digest(text) or (thing is Thing.MANIFEST and is_tag(text)):
        return text
    if ":" in text or thing is not Thing.MANIFEST:
        raise Denied(400, "DIGEST_INVALID", f"{text[:160]!r} is no digest of sha256 or sha512")
    raise Denied(400, "MANIFEST_INVALID", f"{text[:160]!r} is neither a tag nor a digest")
