"""What tags name today, several asked at once; one that nobody answers for is told, and fails nothing.

Called to look at images that are pushed and at those that are followed. Fetches a manifest only from a registry that
cannot say its digest otherwise. Imports the client, and with it aiohttp, only when it is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import TrimtabError
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings
    from runtime.images.registry.transport import Transport


AT_ONCE = 16
"""A repository may have thousands of tags."""


@dataclass(frozen=True, slots=True)
class Head:
    """`digest`: empty where the registry has no such tag. `unknown`: why it could not be asked."""

    digest: str = ""
    unknown: str = ""


def read_heads(tags: Iterable[str], settings: RegistrySettings) -> dict[str, Head]:
    """By tag. The registries themselves are asked, not their mirrors. Raises RuntimeError in an event loop's thread."""
    wanted = tuple(dict.fromkeys(tags))
    return asyncio.run(_read(wanted, settings)) if wanted else {}


async def _read(tags: tuple[str, ...], settings: RegistrySettings) -> dict[str, Head]:
    from runtime.images.registry.transport import connected

    places = asyncio.Semaphore(AT_ONCE)
    async with connected(settings) as transport:

        async def one(tag: str) -> Head:
            async with places:
                return await _one(Reference.parse(tag), transport, settings)

        found = await asyncio.gather(*map(one, tags))
    return dict(zip(tags, found, strict=True))


async def _one(reference: Reference, transport: Transport, settings: RegistrySettings) -> Head:
    from runtime.images.registry.client import Client
    from runtime.images.registry.endpoints import registry_endpoint
    from runtime.images.registry.failures import Errand
    from runtime.images.registry.manifests import ACCEPT, manifest_digest
    from runtime.images.registry.retry import persist

    client = Client(registry_endpoint(reference.domain, settings), reference.path, transport)
    errand = Errand(str(reference), "look")

    async def is_there() -> bool:
        what = f"manifests/{reference.pin}"
        async with await client.ask("HEAD", what, errand, {"Accept": ACCEPT}, ok=(200, 404, 405)) as response:
            return response.status != 404

    try:
        if not await persist(is_there, settings):
            return Head()
        return Head(await manifest_digest(client, reference.pin, errand, settings))
    except TrimtabError as error:
        return Head(unknown=error.message)
