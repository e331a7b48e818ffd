"""The registry's life: take the lock, listen, say so, keep house, leave at a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from reconciler.daemon import log, notify
from reconciler.registry.certificates import certificates_of
from reconciler.registry.housekeeping import keep_house
from reconciler.registry.listening import listen, require_closed
from reconciler.registry.mirror import mirroring
from reconciler.registry.served import Served
from reconciler.registry.settings import Settings
from runtime.images.hosted.catalog import Catalog
from runtime.images.hosted.database import opened
from runtime.images.hosted.uploads import Uploads
from runtime.images.locks import lock
from runtime.layout import Layout
from schemas.errors import Refused

THREADS = 32
ENDING_SECONDS = 5.0
LOG = log.logger("registry")


def run_registry(layout: Layout, settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises Refused where another one is at work, or the address cannot be had."""
    log.set_up("auto", "info", log.real_stderr())
    require_closed(settings)
    with only_registry(layout):
        asyncio.run(_live(layout, settings))


async def _live(layout: Layout, settings: Settings) -> None:
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    # files are read when they change; who asks for it all the same must not end the registry
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: LOG.info("files are read when they change"))
    async with registry(layout, settings) as address:
        LOG.info("ready", address=address, pid=os.getpid(), root=str(layout.root), mirror=settings.mirror or None)
        notify.ready("serving images")
        await leave.wait()
        notify.stopping()


@asynccontextmanager
async def registry(layout: Layout, settings: Settings) -> AsyncIterator[str]:
    """A registry that serves for as long as the context lasts; its address. Raises Refused, RetryLater."""
    async with AsyncExitStack() as stack:
        database = stack.enter_context(opened(layout))
        pool = stack.enter_context(ThreadPoolExecutor(THREADS, "trimtab-registry"))
        uploads = Uploads(layout, settings.uploads, settings.upload_seconds)
        catalog = Catalog(database, settings.mirror)
        mirror = await stack.enter_async_context(mirroring(layout, catalog, settings)) if settings.mirror else None
        served = Served(layout, settings, catalog, uploads, pool, mirror, certificates_of(settings))
        address = await listen(stack, served)
        stack.push_async_callback(_end, asyncio.ensure_future(keep_house(served)))
        yield address


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


@contextmanager
def only_registry(layout: Layout) -> Iterator[None]:
    """One registry at a time on one root: uploads are known to one process. One that is ending is waited for.

    Raises Refused.
    """
    path = layout.registry.with_suffix(".lock")
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + ENDING_SECONDS
        while not lock(descriptor):
            if time.monotonic() < end:
                time.sleep(0.05)
                continue
            hint = "end it first, or give another --root"
            raise Refused("a registry works on this root already", step="serve", path=str(path.parent), hint=hint)
        yield
    finally:
        os.close(descriptor)
