"""Images by hand, for clients: list, pull, inspect, remove, load, save."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import StreamReader, web

from reconciler.api.declared import Asked as Request
from reconciler.api.declared import document
from reconciler.api.incoming import STALL_SECONDS
from reconciler.api.outgoing import Outgoing, VisitorLeft
from reconciler.api.recorder import Recorder, recorded
from reconciler.cli.image.bring import load as load_archive
from reconciler.cli.image.bring import pull as pull_image
from reconciler.cli.image.list import print_details, print_images
from reconciler.cli.image.names import image_named
from reconciler.cli.image.remove import remove as remove_images
from runtime.images.record import ImageRecord
from runtime.images.save import Form, save_image
from runtime.layout import Layout


async def list_images(request: Request) -> web.Response:
    return document(await request.served.worker.do(recorded, Recorder(), print_images, request.served.layout, "json"))


async def inspect(request: Request) -> web.Response:
    names = [request.path["name"]]
    text = await request.served.worker.do(recorded, Recorder(), print_details, request.served.layout, names)
    return document(json.dumps(json.loads(text)[0], ensure_ascii=False))


async def pull(request: Request) -> web.Response:
    def work(layout: Layout, reference: str, platform: str | None) -> None:
        who.out.write(json.dumps({"names": [pull_image(layout, reference, platform, quiet=True).name]}))

    who = Recorder()
    body = request.body
    return document(
        await request.served.worker.last(recorded, who, work, request.served.layout, body.reference, body.platform)
    )


async def remove(request: Request) -> web.Response:
    names = [request.path["name"]]
    await request.served.worker.write(recorded, Recorder(), remove_images, request.served.layout, names)
    return web.Response(status=204)


async def load(request: Request) -> web.Response:
    """The archive is kept on the engine's disk meanwhile: which format it is shows only at its end."""
    layout = request.served.layout
    layout.root.mkdir(parents=True, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=layout.root, prefix=".load-")
    try:
        with os.fdopen(descriptor, "wb") as spooled:
            while piece := await _piece(request.request.content):
                await request.served.worker.do(spooled.write, piece)
        records = await request.served.worker.last(_load, layout, path, request.query.name)
    finally:
        Path(path).unlink()
    return document(json.dumps({"names": [record.name for record in records]}))


async def _piece(content: StreamReader) -> bytes:
    """Raises HTTPRequestTimeout where the client stalls."""
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await content.read(1 << 20)
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason="the archive did not come") from None


def _load(layout: Layout, path: str, name: str | None) -> tuple[ImageRecord, ...]:
    return load_archive(layout, path, name, quiet=True)


async def save(request: Request) -> web.StreamResponse:
    layout = request.served.layout
    record = await request.served.worker.do(image_named, layout, request.path["name"])
    response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
    await response.prepare(request.request)
    served = request.served
    outgoing = Outgoing(request.request, response, must_end=False, framed=False, patience=served.patience)
    with suppress(VisitorLeft):
        await served.worker.last(save_image, layout, record, _writer(outgoing), Form(request.query.format))
    await outgoing.drain()
    return response


def _writer(outgoing: Outgoing) -> Callable[[bytes], object]:
    return lambda data: outgoing.tell(0, data)
