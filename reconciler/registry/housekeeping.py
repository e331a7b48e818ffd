"""What the registry does unasked: uploads that nobody goes on with, blobs that nothing names any more."""

from __future__ import annotations

import asyncio

from reconciler.daemon.log import logger
from reconciler.registry.served import Served
from runtime.images.hosted.sweeping import bound, expire_links, sweep
from schemas.errors import TrimtabError

SECONDS = 30.0
LOG = logger("registry")


async def keep_house(served: Served) -> None:
    """Until it is cancelled; at once, then every so often."""
    while True:
        try:
            await served.do(served.uploads.expire)
            await served.do(expire_links, served.catalog)
            if served.mirror is not None:
                await served.do(bound, served.catalog, served.settings.keep_bytes)
            if freed := await served.do(sweep, served.layout, served.catalog):
                LOG.info("freed", bytes=freed)
        except (TrimtabError, OSError) as error:
            LOG.warning("nothing was freed", error=str(error))
        await asyncio.sleep(SECONDS)
