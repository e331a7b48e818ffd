"""The tags of a repository, and when the image of each was made. Called for images that follow a repository.

Imports the client, and with it aiohttp, only when it is needed. Source: distribution-spec 1.1, "Listing Tags";
image-spec 1.1, config.md, `created`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runtime.images.config import MAX_CONFIG, read_image_document
from runtime.images.documents import read_document
from runtime.images.oci import Manifest
from runtime.images.platforms import Platform, machine_platform
from schemas.errors import Refused
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.client import Client
    from runtime.images.registry.settings import RegistrySettings

MOST_TAGS = 10_000
MOST_LOOKED_AT = 200
"""Images whose time is asked for at once; those known already are not asked for."""
_PAGE = 1000
_MOST_BYTES = 4 << 20


def read_tags(reference: Reference, settings: RegistrySettings) -> tuple[str, ...]:
    """Every tag of the reference's repository. Raises Refused (also for very many), RetryLater."""
    from runtime.images.registry.asking import asked

    return asyncio.run(asked(reference, settings, lambda client: _tags(client, reference, settings)))


def read_created(
    reference: Reference, digests: Sequence[str], settings: RegistrySettings, platform: Platform | None = None
) -> Mapping[str, float]:
    """When the images of these digests were made, in seconds since the epoch; 0 where they do not say.

    Raises Refused (also for very many), RetryLater.
    """
    from runtime.images.registry.asking import asked

    if len(digests) > MOST_LOOKED_AT:
        raise Refused(
            f"{len(digests)} tags are new at once; at most {MOST_LOOKED_AT} are looked at",
            object=str(reference),
            step="follow",
            hint="name fewer with tags:",
        )

    async def work(client: Client) -> dict[str, float]:
        found: dict[str, float] = {}
        for digest in dict.fromkeys(digests):
            found[digest] = await _created(client, reference, digest, settings, platform or machine_platform())
        return found

    return asyncio.run(asked(reference, settings, work))


async def _tags(client: Client, reference: Reference, settings: RegistrySettings) -> tuple[str, ...]:
    found: list[str] = []
    what = f"tags/list?n={_PAGE}"
    while what:
        page, what = await _page(client, what, reference, settings)
        found += page
        if len(found) > MOST_TAGS:
            raise Refused(f"has more than {MOST_TAGS} tags", object=str(reference), step="list tags")
    return tuple(dict.fromkeys(found))


async def _page(
    client: Client, what: str, reference: Reference, settings: RegistrySettings
) -> tuple[tuple[str, ...], str]:
    """Some tags, and where the next are: below `tags/list` of the same repository, wherever the registry says it is."""
    from yarl import URL

    from runtime.images.registry.failures import Errand
    from runtime.images.registry.retry import persist
    from runtime.images.registry.transport import read_small

    errand = Errand(str(reference), "list tags")

    async def attempt() -> tuple[bytes, str]:
        async with await client.ask("GET", what, errand) as response:
            content = await read_small(response, _MOST_BYTES, errand, settings)
            link = response.links.get("next")
            following = link.get("url") if link is not None else None
            return content, f"tags/list?{following.raw_query_string}" if isinstance(following, URL) else ""

    content, following = await persist(attempt, settings)
    tags = read_document(content, "list of tags").strings("tags")
    return tags, following if tags else ""


async def _created(
    client: Client, reference: Reference, digest: str, settings: RegistrySettings, platform: Platform
) -> float:
    from runtime.images.registry.asking import fetch_content
    from runtime.images.registry.failures import Errand
    from runtime.images.registry.manifests import chosen, fetch_manifest, read

    errand = Errand(str(reference), "follow")
    document = read(await fetch_manifest(client, digest, errand, settings), errand)
    if not isinstance(document, Manifest):
        entry = chosen(document, platform, errand)
        document = read(await fetch_manifest(client, entry.digest, errand, settings), errand)
    if not isinstance(document, Manifest):
        return 0.0
    content = await fetch_content(client, document.config.digest, MAX_CONFIG, errand, settings)
    return _moment(read_image_document(content).created)


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
