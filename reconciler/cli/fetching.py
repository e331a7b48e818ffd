"""The work of `trimtab source fetch`: have the daemon look at a source, and wait until it has."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import click

from reconciler.cli.source_rows import WELL
from reconciler.cli.table import printable
from reconciler.client.dial import Unreachable, dial
from reconciler.client.host import find_host
from reconciler.client.http import BadAnswer, Problem, ask
from runtime.layout import Layout
from schemas.errors import Missing, Refused

UNDER_WAY = ("Starting", "Applying")
PAUSE = 0.1
"""Seconds between two questions."""


def fetch_source(layout: Layout, given: str | None, name: str, retry: bool, seconds: float, output: str) -> int:
    """The exit code. Raises Refused where no daemon answers, Missing where it follows no such source."""
    path = f"/v1/sources/{quote(name, safe='')}"
    before = _ask(layout, given, "GET", path)
    _ask(layout, given, "POST", f"{path}/{'retry' if retry else 'fetch'}")
    end = time.monotonic() + seconds
    while True:
        source = _ask(layout, given, "GET", path)
        done = source["at"] > before["at"] and source["state"] not in UNDER_WAY
        if done or time.monotonic() > end:
            break
        time.sleep(PAUSE)
    if output == "json":
        click.echo(json.dumps(source, indent=2, ensure_ascii=False))
    else:
        _tell(source, done=done)
    return 0 if done and source["state"] in WELL else 1


def _tell(source: dict[str, Any], *, done: bool) -> None:
    state = source["state"] if done else f"{source['state']}, and still at it"
    click.echo(f"source {source['name']} is {state}: offers {source['revision']}, applied {source['applied']}")
    for line in source["problems"] or source["message"].splitlines():
        click.echo(printable(line))


def _ask(layout: Layout, given: str | None, method: str, path: str) -> dict[str, Any]:
    try:
        host = find_host(given, str(layout.run))
        if host is None:
            raise Unreachable("none is running here")
        with dial(host) as channel:
            answer = ask(channel, method, path)
    except Problem as error:
        if error.status == 404:
            raise Missing(str(error), hint="`trimtab source ls` lists what is followed") from error
        raise Refused(str(error), step="fetch") from error
    except (Unreachable, OSError, ValueError, BadAnswer) as error:
        hint = "`trimtab daemon` starts one, `trimtab system install` has systemd start it"
        raise Refused(f"no daemon answers: {error}", step="fetch", hint=hint) from error
    return answer if isinstance(answer, dict) else {}
