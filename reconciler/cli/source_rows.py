"""The work of `trimtab status`: the daemon's answer as a table or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from reconciler.cli.quantities import age_text
from reconciler.cli.table import printable, table_lines
from reconciler.client.dial import Unreachable, dial
from reconciler.client.host import find_host
from reconciler.client.http import BadAnswer, Problem, ask
from runtime.layout import Layout
from schemas.errors import Refused

TITLES = ("SOURCE", "STATE", "SET", "OFFERS", "APPLIED", "AGE", "FROM")
SET_TITLES = ("SET", "SYNC", "HEALTH", "READY")
IMAGE_TITLES = ("IMAGE", "STATE", "CURRENT", "AVAILABLE", "CHECKED", "FOLLOWS")
WELL = ("Ready", "Suspended", "Pinned")


def print_status(layout: Layout, given: str | None, output: str) -> int:
    """The exit code. Raises Refused where no daemon answers."""
    document = _ask(layout, given)
    if output == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for line in _lines(document):
            click.echo(line)
    return 0 if all(source["state"] in WELL for source in document["sources"]) else 1


def _ask(layout: Layout, given: str | None) -> dict[str, Any]:
    try:
        host = find_host(given, str(layout.run))
        if host is None:
            raise Unreachable("none is running here")
        with dial(host) as channel:
            answer = ask(channel, "GET", "/v1/status")
    except (Unreachable, OSError, ValueError, BadAnswer, Problem) as error:
        hint = "`trimtab daemon` starts one, `trimtab system install` has systemd start it"
        raise Refused(f"no daemon answers: {error}", step="status", hint=hint) from error
    return answer if isinstance(answer, dict) else {}


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    daemon = document["daemon"]
    doing = "stopping" if daemon["stopping"] else "working" if daemon["writing"] else "watching"
    yield f"daemon {daemon['version']}, process {daemon['pid']}, is {doing} {daemon['objects']} objects."
    yield from _source_lines(document["sources"])
    if sets := document["sets"]:
        yield ""
        whole = {"set": "(all)", **document["engine"]}
        yield from table_lines(SET_TITLES, [_set_row(each) for each in (*sets, *([whole] if len(sets) > 1 else []))])
    images = document.get("images", [])
    if images:
        yield ""
        yield from table_lines(IMAGE_TITLES, [_image_row(image) for image in images])
        yield from (f"{image['name']}: {printable(image['message'])}" for image in images if image["message"])


def _set_row(found: Mapping[str, Any]) -> list[str]:
    return [found["set"], found["sync"], found["health"], f"{found['ready']}/{found['objects']}"]


def _image_row(image: Mapping[str, Any]) -> list[str]:
    age = age_text(time.time() - image["checked_at"]) if image["checked_at"] else ""
    return [image["name"], image["state"], _pin(image["current"]), _pin(image["available"]), age, image["policy"]]


def _pin(reference: str) -> str:
    """Tag and the beginning of the digest."""
    name, _, digest = reference.rpartition("/")[2].partition("@")
    return f"{name}@{digest[7:19]}" if digest else name


def _source_lines(sources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not sources:
        yield "It follows no source."
        return
    yield ""
    yield from table_lines(TITLES, [_row(source) for source in sources])
    for source in sources:
        lines = source["message"].splitlines()
        told = (source["problems"] or lines) if source["state"] not in WELL else filter(_is_note, lines)
        yield from (f"{source['name']}: {printable(line)}" for line in told if line)


def _is_note(line: str) -> bool:
    """What is told although all is well, as of objects that stay (`reconciler.sources.applying`)."""
    return line.startswith("note: ")


def _row(source: Mapping[str, Any]) -> list[str]:
    age = age_text(time.time() - source["applied_at"]) if source["applied_at"] else ""
    return [source["name"], source["state"], source["set"], source["revision"], source["applied"], age, source["where"]]
