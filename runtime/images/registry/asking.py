"""Questions to one repository: a client for as long as they take, and blobs that are small enough for memory.

Called by the rooms that read what is no image: tags, referrers, artifacts. The registry itself is asked, not its
mirrors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from runtime.images.registry.client import Client
from runtime.images.registry.endpoints import registry_endpoint
from runtime.images.registry.failures import Errand
from runtime.images.registry.manifests import matches
from runtime.images.registry.retry import persist
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.transport import connected, read_small
from schemas.errors import Refused
from schemas.reference import Reference

T = TypeVar("T")


async def asked(reference: Reference, settings: RegistrySettings, work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` finds out of the reference's repository. Raises what it raises."""
    async with connected(settings) as transport:
        return await work(Client(registry_endpoint(reference.domain, settings), reference.path, transport))


async def fetch_content(client: Client, digest: str, limit: int, errand: Errand, settings: RegistrySettings) -> bytes:
    """The blob, verified. Raises Refused (also where it has more than `limit` bytes), RetryLater."""

    async def attempt() -> bytes:
        async with await client.ask("GET", f"blobs/{digest}", errand) as response:
            return await read_small(response, limit, errand, settings)

    content = await persist(attempt, settings)
    if not matches(digest, content):
        raise Refused(f"the blob received is not {digest}", object=errand.image, step=errand.step)
    return content
