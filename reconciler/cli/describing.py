"""The work of `trimtab describe`: one document about an object, as text, JSON or YAML.

The document is `trimtab/v1` `ObjectDescription`: {"apiVersion", "kind", "item": an item of `report`, "details": usage,
mounts, image: what the facts leave out, "events": the last ones}, documented in docs/objects.md.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import click

from reconciler.cli.columns import Row, origin_text
from reconciler.cli.details import details
from reconciler.cli.event_lines import event_document
from reconciler.cli.getting import look_at
from reconciler.cli.outline import outline
from reconciler.cli.quantities import age_text
from reconciler.cli.report import item_of
from reconciler.cli.seen import read_known
from reconciler.cli.selection import Selection, read_key
from reconciler.cli.standings import PATIENT
from reconciler.cli.table import printable
from reconciler.engine import Engine, open_engine
from reconciler.store.events import Event, read_events
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import API_VERSION, Key, Kind
from schemas.write_yaml import write_documents

EVENTS = 10


def describe(layout: Layout, name: str, output: str) -> None:
    """Raises Refused for an object that is not there."""
    with open_engine(layout) as engine:
        key = find_key(engine, name)
        (row,) = look_at(engine, Selection(keys=(key,)))
        events = read_events(engine.database, str(key), last=EVENTS)
    document = {
        "apiVersion": API_VERSION,
        "kind": "ObjectDescription",
        "item": item_of(row, secrets=False),
        "details": details(layout, row.seen),
        "events": [event_document(event) for event in events],
    }
    match output:
        case "json":
            click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))
        case "yaml":
            import yaml

            plain = json.loads(json.dumps(document, default=str))
            click.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), nl=False)
        case _:
            for line in _lines(document, row, events):
                click.echo(line)


def find_key(engine: Engine, name: str) -> Key:
    """`container/web`; a name alone where only one object has it."""
    if "/" in name:
        return read_key(name)
    named = sorted(key for key in read_known(engine).keys if key.name == name)
    if len(named) == 1:
        return named[0]
    hint = f"write one of {', '.join(map(str, named))}" if named else "write KIND/NAME, as in container/web"
    raise Refused(f"{name!r} names {'several objects' if named else 'no object'}", hint=hint)


def _lines(document: Mapping[str, Any], row: Row, events: Sequence[Event]) -> Iterator[str]:
    item = document["item"]
    yield str(item["object"])
    yield from outline(_head(item, origin_text(row.seen), row.standing.next), 2)
    of_source = ("Ready", "Stalled") if row.seen.key.kind is Kind.SOURCE else ()
    yield from _conditions(item["standing"], row.stray, row.now, of_source)
    yield from _spec((item["manifest"] or {}).get("spec", row.seen.spec))
    for title, value in (
        ("Process", item["process"]),
        ("Observed", item["facts"]),
        *((name.capitalize(), value) for name, value in document["details"].items()),
    ):
        if value:
            yield f"{title}:"
            yield from outline(value, 2)
    yield from _differences(item["differences"])
    yield from _events(events, row.now)


def _conditions(standing: Mapping[str, Any], stray: str, now: float, told_of: Collection[str] = ()) -> Iterator[str]:
    """`told_of`: those whose message is told, whatever their reason."""
    yield f"  Sync: {standing['sync']}" + (f": {stray}" if stray else "")
    yield "Conditions:"
    for each in standing["conditions"]:
        told = each["message"] and (each["reason"] in PATIENT or each["type"] in told_of)
        why = f": {printable(each['message'])}" if told else ""
        since = f", for {age_text(now - each['since'])}" if each["since"] else ""
        yield f"  {each['type']} {each['status']}, {each['reason']}{since}{why}"


def _spec(spec: Mapping[str, Any]) -> Iterator[str]:
    """As a manifest would write it."""
    if spec:
        yield "Fields set:"
        yield from (f"  {line}" for line in write_documents([spec]).splitlines())


def _head(document: Mapping[str, Any], origin: str, next_step: str) -> dict[str, Any]:
    metadata = (document["manifest"] or {}).get("metadata", {})
    told = {
        "Health": document["health"],
        "Status": document["status"],
        "Next": next_step,
        "Origin": origin,
        "Generation": document["generation"],
        "Created": document["created"],
        "Labels": metadata.get("labels"),
        "Annotations": metadata.get("annotations"),
        "Needs": document["needs"],
        "Used by": document["usedBy"],
    }
    return {name: value for name, value in told.items() if value}


def _differences(differences: list[Mapping[str, Any]]) -> Iterator[str]:
    if not differences:
        yield "Differences: none"
        return
    yield "Differences (`trimtab apply` mends them):"
    for difference in differences:
        sides = {"wanted": difference["wanted"], "found": difference["found"]}
        yield from outline({difference["field"]: {n: "(none)" if v is None else v for n, v in sides.items()}}, 2)


def _events(events: Sequence[Event], now: float) -> Iterator[str]:
    if not events:
        yield "Events: none"
        return
    yield "Events:"
    for event in events:
        yield f"  {age_text(now - event.at)} ago  {event.type}  {event.reason}: {event.message}"
