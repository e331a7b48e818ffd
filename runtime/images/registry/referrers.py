"""What refers to an image: signatures, SBOMs, attestations, listed without fetching them.

Called by the command line, from any thread that runs no event loop. Asks the referrers API, else the tag that stands
in for it; and lists the attestations that BuildKit puts into an index. Verifies none of them.

Source: distribution-spec 1.1, "Listing Referrers", "Unavailable Referrers API", "Referrers Tag Schema"; BuildKit,
"Image attestation storage".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

import aiohttp
from yarl import URL

from runtime.images.documents import Document, read_document
from runtime.images.oci import INDEXES, MAX_MANIFEST, read_descriptor
from runtime.images.registry.client import Client
from runtime.images.registry.endpoints import registry_endpoint
from runtime.images.registry.failures import Errand, refused
from runtime.images.registry.manifests import ACCEPT, Fetched, fetch_manifest, find_manifest, matches
from runtime.images.registry.retry import persist
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.transport import connected, read_small
from schemas.errors import Refused, TrimtabError
from schemas.reference import Reference

PAGES = 100
"""Of one list, at most."""
MOST = 10_000
_KIND, _ABOUT = "vnd.docker.reference.type", "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


class Told(StrEnum):
    """Where a referrer is listed."""

    API = "api"
    TAG = "tag"
    INDEX = "index"


@dataclass(frozen=True, slots=True)
class Referrer:
    """`subject`: the digest that it is about. `artifact_type` of several predicates: each, with commas."""

    digest: str
    size: int
    media_type: str
    artifact_type: str
    subject: str
    told: Told
    annotations: dict[str, str] = field(default_factory=dict)


def list_referrers(
    reference: Reference, settings: RegistrySettings, artifact_type: str = ""
) -> tuple[str, tuple[Referrer, ...]]:
    """The digest that `reference` names, and what refers to it. Raises Refused, RetryLater."""
    return asyncio.run(_list(reference, settings, artifact_type))


async def _list(
    reference: Reference, settings: RegistrySettings, artifact_type: str
) -> tuple[str, tuple[Referrer, ...]]:
    errand = Errand(str(reference), "list referrers")
    try:
        async with connected(settings) as transport:
            client = Client(registry_endpoint(reference.domain, settings), reference.path, transport)
            fetched = await fetch_manifest(client, reference.pin, errand, settings)
            found = await referrers_of(client, fetched.digest, errand, settings, artifact_type)
            found += await _within_index(client, fetched, errand, settings)
    except TrimtabError as error:
        error.object = error.object or str(reference)
        raise
    return fetched.digest, tuple(each for each in found if artifact_type in ("", *each.artifact_type.split(", ")))


async def referrers_of(
    client: Client, digest: str, errand: Errand, settings: RegistrySettings, artifact_type: str = ""
) -> list[Referrer]:
    """By the API, page by page; where the registry has none, by the tag."""
    found: list[Referrer] = []
    what = f"referrers/{digest}" + (f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else "")
    for _ in range(PAGES):
        page = await _page(client, what, errand, settings)
        if page is None:
            return found or await _by_tag(client, digest, errand, settings)
        content, following = page
        found += _entries(read_document(content, "list of referrers"), digest, Told.API)
        if not following or len(found) >= MOST:
            break
        what = following
    return found


async def _page(client: Client, what: str, errand: Errand, settings: RegistrySettings) -> tuple[bytes, str] | None:
    """None: the registry has no such list. Some answer with a page for people."""

    async def attempt() -> tuple[bytes, str] | None:
        async with await client.ask("GET", what, errand, {"Accept": ACCEPT}, ok=(200, 400, 404, 405)) as response:
            kind = response.headers.get("Content-Type", "").partition(";")[0]
            if response.status != 200 or kind not in (*INDEXES, "application/json"):
                return None
            return await read_small(response, MAX_MANIFEST, errand, settings), _next(response, errand)

    return await persist(attempt, settings)


def _next(response: aiohttp.ClientResponse, errand: Errand) -> str:
    """The address of the page that follows, of this registry's own; empty for the last one."""
    found = _NEXT.search(response.headers.get("Link", ""))
    if not found:
        return ""
    try:
        target = response.url.join(URL(found[1], encoded=True))
    except ValueError:
        return ""
    if target.origin() != response.url.origin():
        raise refused("the list of referrers goes on at another host", errand, response.url)
    return str(target)


async def _by_tag(client: Client, digest: str, errand: Errand, settings: RegistrySettings) -> list[Referrer]:
    fetched = await tagged_list(client, digest, errand, settings)
    return _entries(read_document(fetched.content, "list of referrers"), digest, Told.TAG) if fetched else []


async def tagged_list(client: Client, digest: str, errand: Errand, settings: RegistrySettings) -> Fetched | None:
    """The index under the tag that stands in for the API; None where there is none."""
    fetched = await find_manifest(client, referrers_tag(digest), errand, settings)
    if fetched is None:
        return None
    try:
        document = read_document(fetched.content, "list of referrers")
    except Refused:
        return None
    return fetched if document.text("mediaType", fetched.media_type) in INDEXES else None


def referrers_tag(digest: str) -> str:
    """`sha256-…` of `sha256:…`, cut to what a tag may be."""
    algorithm, _, encoded = digest.partition(":")
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{algorithm[:32]}-{encoded[:64]}")


def _entries(document: Document, subject: str, told: Told) -> list[Referrer]:
    listed = [read_descriptor(entry) for entry in document.children("manifests")[:MOST]]
    return [
        Referrer(one.digest, one.size, one.media_type, one.artifact_type, subject, told, one.annotations)
        for one in listed
    ]


async def _within_index(client: Client, fetched: Fetched, errand: Errand, settings: RegistrySettings) -> list[Referrer]:
    document = read_document(fetched.content, "manifest")
    found: list[Referrer] = []
    for entry in document.children("manifests"):
        one = read_descriptor(entry)
        if _KIND not in one.annotations:
            continue
        held = await fetch_manifest(client, one.digest, errand, settings)
        if not matches(one.digest, held.content):
            raise Refused(f"{one.digest} is not what the registry sent", object=errand.image, step=errand.step)
        kinds = _predicates(read_document(held.content, "attestation")) or [one.annotations[_KIND]]
        about = one.annotations.get(_ABOUT, fetched.digest)
        found.append(
            Referrer(one.digest, one.size, one.media_type, ", ".join(kinds), about, Told.INDEX, one.annotations)
        )
    return found


def _predicates(document: Document) -> Sequence[str]:
    layers = document.children("layers")
    return [kind for layer in layers if (kind := layer.texts("annotations").get(_PREDICATE))]
