"""Objects out: lists, descriptions, history, the engine itself. The documents of `-o json`."""

from __future__ import annotations

import json
import os

from aiohttp import web

from reconciler.api.declared import Asked as Request
from reconciler.api.declared import document
from reconciler.api.models import ObjectsQuery
from reconciler.api.recorder import Recorder, recorded
from reconciler.api.sets import key_in
from reconciler.cli.describing import describe as describe_object
from reconciler.cli.getting import look_at
from reconciler.cli.report import item_of
from reconciler.cli.revision_rows import print_revisions
from reconciler.cli.selection import Labels, read_selection
from reconciler.cli.system.check import print_check
from reconciler.cli.system.df import print_usage
from reconciler.cli.system.info import print_info
from reconciler.cli.version_command import VERSION
from reconciler.engine import open_engine
from reconciler.store.changes import newest_version
from runtime.layout import Layout
from schemas.names import API_VERSION


async def health(request: Request) -> web.Response:
    status = "stopping" if request.served.worker.is_stopping else "ok"
    return document(json.dumps({"status": status, "version": VERSION, "pid": os.getpid()}))


async def list_objects(request: Request) -> web.Response:
    return document(await request.served.worker.do(_list, request.served.layout, request.query))


def _list(layout: Layout, query: ObjectsQuery) -> str:
    """The version is read first: what changes meanwhile is told again rather than never."""
    selection, labels = read_selection(query.kind), Labels.read(query.label)
    with open_engine(layout) as engine:
        version = newest_version(engine.database)
        items = [item_of(row, secrets=False) for row in look_at(engine, selection, labels, query.set)]
    made = {"apiVersion": API_VERSION, "kind": "ObjectList", "resourceVersion": version, "items": items}
    return json.dumps(made, ensure_ascii=False, default=str)


async def describe(request: Request) -> web.Response:
    key = str(key_in(request.path))
    text = await request.served.worker.do(recorded, Recorder(), describe_object, request.served.layout, key, "json")
    return document(text)


async def history(request: Request) -> web.Response:
    layout = request.served.layout
    return document(
        await request.served.worker.do(recorded, Recorder(), print_revisions, layout, request.query.set, "json")
    )


async def info(request: Request) -> web.Response:
    return document(await request.served.worker.do(recorded, Recorder(), print_info, request.served.layout, "json"))


async def usage(request: Request) -> web.Response:
    return document(await request.served.worker.do(recorded, Recorder(), print_usage, request.served.layout, "json"))


async def check(request: Request) -> web.Response:
    layout = request.served.layout
    work = request.served.worker.do(recorded, Recorder(), print_check, layout, "json", everything=True)
    return document(await work)
