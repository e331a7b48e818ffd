"""Manifests in: validate, diff, apply. Deletion of one object."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

from reconciler.api.declared import Asked as Request
from reconciler.api.declared import document
from reconciler.api.models import ApplyBody, DiffBody, Texts
from reconciler.api.recorder import Recorder, recorded
from reconciler.caller import by_person
from reconciler.cli.acting import Acting, act
from reconciler.cli.show import show_plan
from reconciler.engine import Engine, open_engine
from reconciler.fitness import missing_files
from reconciler.prune import Pruning
from reconciler.reconcile import Asked, prepare
from reconciler.sources.contents import files_named, read_contents, read_environments
from reconciler.sources.relative import locate
from reconciler.store.records import read_records
from runtime.layout import Layout
from schemas.check import check
from schemas.envelope import Declared
from schemas.errors import Invalid, Missing
from schemas.load import Text, load
from schemas.names import Key

LOCK_SECONDS = 30.0
PARALLEL = 4


def _who(body: Texts, request: Request) -> Recorder:
    stops = lambda: request.served.worker.is_stopping  # noqa: E731
    person = request.served.person(request.request)
    return Recorder(body.environment, body.directory, body.files, stops, person=person)


def _declared(body: Texts, who: Recorder) -> list[Declared]:
    texts = [Text(each.name, each.text) for each in body.manifests]
    loaded = load(texts, body.environment, set=body.set, commit=body.commit)
    declared = [locate(item, who.directory) for item in loaded]
    who.require(files_named(declared))
    return declared


def _asked(body: DiffBody, who: Recorder) -> Asked:
    pruning = Pruning(body.prune, body.allow_empty)
    return Asked(
        _declared(body, who),
        body.set,
        body.manifests[0].name,
        body.environment,
        pruning,
        body.commit,
        by_person("apply"),
    )


async def validate(request: Request) -> web.Response:
    def work(body: Texts) -> None:
        declared = _declared(body, who)
        problems = [*check(declared), *(problem for item in declared for problem in missing_files(item))]
        if problems:
            raise Invalid(problems)
        read_contents(declared, body.environment)
        read_environments(declared, body.environment)
        who.out.write(json.dumps({"objects": len(declared)}))

    who = _who(request.body, request)
    return document(await request.served.worker.do(recorded, who, work, request.body))


async def diff(request: Request) -> web.Response:
    def work(layout: Layout, body: DiffBody) -> None:
        asked = _asked(body, who)
        with open_engine(layout) as engine:
            show_plan(prepare(engine, asked).plan, body.set, "json")

    who = _who(request.body, request)
    return document(await request.served.worker.do(recorded, who, work, request.served.layout, request.body))


async def apply(request: Request) -> web.Response:
    def work(layout: Layout, body: ApplyBody) -> None:
        acting = Acting(body.parallel, False, body.wait, LOCK_SECONDS, "json", body.timeout)
        act(layout, _asked(body, who), acting)

    who = _who(request.body, request)
    text = await request.served.worker.write(recorded, who, work, request.served.layout, request.body)
    await request.served.applied()
    return document(text)


async def delete(request: Request) -> web.Response:
    def work(layout: Layout, key: Key) -> None:
        with open_engine(layout) as engine:
            set_name = _set_of(engine, key)
        asked = Asked((), set_name, "", {}, Pruning(only=frozenset({key})), cause=by_person("delete"))
        act(layout, asked, Acting(PARALLEL, False, False, LOCK_SECONDS, "json"))

    who = Recorder(stops=lambda: request.served.worker.is_stopping, person=request.served.person(request.request))
    key = key_in(request.path)
    text = await request.served.worker.write(recorded, who, work, request.served.layout, key)
    await request.served.applied()
    return document(text)


def _set_of(engine: Engine, key: Key) -> str:
    record = read_records(engine.database).get(key)
    if record is None:
        raise Missing(f"there is no {key}", step="delete")
    return record.set


def key_in(path: Mapping[str, str]) -> Key:
    """The object that a path names. Raises Missing."""
    try:
        return Key.parse(f"{path['kind']}/{path['name']}")
    except ValueError as error:
        raise Missing(f"there is no {path['kind']}/{path['name']}") from error
