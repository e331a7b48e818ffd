"""What the registry's answers are made from: catalog, bytes, uploads, threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from reconciler.registry.certificates import Certificates
from reconciler.registry.settings import Settings
from runtime.images.blobs import BlobStore
from runtime.images.hosted.catalog import Catalog
from runtime.images.hosted.uploads import Uploads
from runtime.layout import Layout

if TYPE_CHECKING:
    from reconciler.registry.mirror import Mirror

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Served:
    layout: Layout
    settings: Settings
    catalog: Catalog
    uploads: Uploads
    pool: Executor
    mirror: Mirror | None = None
    certificates: Certificates | None = None

    @property
    def store(self) -> BlobStore:
        return BlobStore(self.layout)

    async def do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call` in a thread, to its end even if whoever asked has left: it may be about to keep something."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self.pool, partial(call, *args, **kwargs)))
