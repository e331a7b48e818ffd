"""Lists: tags of a repository, repositories, referrers of a manifest; in parts where they are long.

Source: distribution-spec 1.1, "Listing Tags", "Listing Referrers"; Docker's registry API, `_catalog`; RFC 8288 (Link).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web

from reconciler.registry.errors import Denied, unknown_name
from reconciler.registry.mirror import Mirror
from reconciler.registry.paths import Asked
from reconciler.registry.rights import PULL, Visitor
from reconciler.registry.served import Served
from runtime.images.hosted.catalog import Held
from runtime.images.hosted.names import is_tag
from runtime.images.oci import OCI_INDEX

MOST_TAGS = 10_000
MOST_NAMES = 1000
INDEX_BYTES = 3 << 20
"""Of descriptors in one list of referrers; a client takes an index of 4 MiB."""
MOST_REFERRERS = 1000


async def list_tags(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    most = _most(request, MOST_TAGS)
    if served.mirror is not None and (relayed := await _mirrored_tags(served.mirror, request, asked, most)):
        return relayed
    found = await served.do(served.catalog.tags, asked.name, request.query.get("last", ""), most + 1)
    if found is None:
        raise unknown_name(asked.name)
    document = {"name": asked.name, "tags": found[:most]}
    return _json(document, _link(request, found, most))


async def list_repositories(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    most = _most(request, MOST_NAMES)
    found = await _seen(served, asked.visitor, request.query.get("last", ""), most + 1)
    return _json({"repositories": found[:most]}, _link(request, found, most))


async def _seen(served: Served, visitor: Visitor, after: str, most: int) -> list[str]:
    """Those that whoever asks may pull from."""
    found: list[str] = []
    while len(found) < most:
        names = await served.do(served.catalog.repositories, after, MOST_NAMES)
        found += [name for name in names if visitor.sees_all or PULL in visitor.rights(name)]
        if len(names) < MOST_NAMES:
            break
        after = names[-1]
    return found[:most]


async def list_referrers(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """An empty list where nothing refers to it, whether the manifest or the repository is there or not."""
    kind = request.query.get("artifactType", "")
    if served.mirror is not None and (relayed := await _mirrored_referrers(served.mirror, asked, kind)):
        return relayed
    after = request.query.get("last", "")
    found = await served.do(served.catalog.referrers, asked.name, asked.pin, after, MOST_REFERRERS + 1, kind)
    shown = _that_fit(found)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_descriptor(held) for held in shown]}
    headers = {"OCI-Filters-Applied": "artifactType"} if kind else {}
    if len(shown) < len(found):
        query = urlencode({"last": shown[-1].digest} | ({"artifactType": kind} if kind else {}))
        headers["Link"] = f'<{request.rel_url.raw_path}?{query}>; rel="next"'
    return _json(document, headers, OCI_INDEX)


async def _mirrored_tags(mirror: Mirror, request: web.Request, asked: Asked, most: int) -> web.StreamResponse | None:
    """As the mirrored registry has them; None where it does not answer."""
    query = urlencode({"n": most, "last": request.query.get("last", "")})
    told = await mirror.ask_list(asked.name, f"tags/list?{query}")
    try:
        tags = [tag for tag in (json.loads(told[0])["tags"] or []) if is_tag(tag)] if told else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if told is None or tags is None:
        return None
    link = urlencode({"n": most, "last": tags[-1]}) if tags and "Link" in told[1] else ""
    headers = {"Link": f'<{request.rel_url.raw_path}?{link}>; rel="next"'} if link else {}
    return _json({"name": asked.name, "tags": tags}, headers)


async def _mirrored_referrers(mirror: Mirror, asked: Asked, kind: str) -> web.StreamResponse | None:
    query = f"?{urlencode({'artifactType': kind})}" if kind else ""
    told = await mirror.ask_list(asked.name, f"referrers/{asked.pin}{query}")
    if told is None:
        return None
    filtered = told[1].get("OCI-Filters-Applied", "")
    headers = {"OCI-Filters-Applied": "artifactType"} if "artifactType" in filtered else {}
    return web.Response(body=told[0], headers={**headers, "Content-Type": OCI_INDEX})


def _that_fit(found: list[Held]) -> list[Held]:
    """At least one."""
    size, shown = 0, list[Held]()
    for held in found[:MOST_REFERRERS]:
        size += len(json.dumps(_descriptor(held)))
        if shown and size > INDEX_BYTES:
            break
        shown.append(held)
    return shown


def _descriptor(held: Held) -> dict[str, object]:
    made: dict[str, object] = {"mediaType": held.media_type, "digest": held.digest, "size": held.size}
    made |= {"artifactType": held.artifact_type} if held.artifact_type else {}
    return made | ({"annotations": held.annotations} if held.annotations else {})


def _most(request: web.Request, limit: int) -> int:
    text = request.query.get("n", str(limit))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Denied(400, "UNSUPPORTED", f"n is {text[:20]!r}, not a number")
    return min(int(text), limit)


def _link(request: web.Request, found: list[str], most: int) -> dict[str, str]:
    if len(found) <= most or most == 0:
        return {}
    query = urlencode({"n": most, "last": found[most - 1]})
    return {"Link": f'<{request.rel_url.raw_path}?{query}>; rel="next"'}


def _json(document: object, headers: Mapping[str, str], media_type: str = "application/json") -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(body=body, headers={**headers, "Content-Type": media_type})
