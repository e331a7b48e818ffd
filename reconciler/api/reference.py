"""`python -m reconciler.api.reference`: docs/api.md, made of the declarations; `--check` says if it is in step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from reconciler.api.declared import JSON, Route
from reconciler.api.routes import ROUTES

FILE = Path(__file__).resolve().parents[2] / "docs/api.md"
HEAD = """\
<!-- Made by `python -m reconciler.api.reference --write` from the declarations in reconciler/api/; do not edit. -->
# The API

HTTP/1.1 on the daemon's socket (see [daemon.md](daemon.md)). The same in full, for tools: `GET /v1/openapi.json`.

- Documents are those that the command prints with `-o json`.
- Errors are problems (RFC 9457, `application/problem+json`): `type`, `title`, `status`, `detail`, and where they are
  known `object`, `step`, `path`, `hint`. Of invalid input `errors` lists every fault with `file`, `line`, `column`,
  `object`, `field`, `message` and `remedy`. 404: there is nothing of that name, 409: refused, 422: not valid, 503:
  try again later.
- Streams are lines of JSON (`application/x-ndjson`); an empty line is a sign of life.
- `resourceVersion` numbers changes. List, then `GET /v1/watch?resourceVersion=N`: each line says `type` (ADDED,
  MODIFIED, DELETED), `object`, `resourceVersion`. 410: too old, list again.
- A process in a container: prepare it, then `POST /v1/exec/ID` with `Connection: Upgrade` and `Upgrade: tcp`. After
  `101` both sides send frames: a byte for the kind (0, 1, 2: the standard streams, 3: control), four for the length,
  the bytes. Control is JSON: `{"resize": [rows, columns]}`, `{"eof": true}`, and last `{"exit": code}` from the
  daemon.
- `POST /v1/commands` carries out a command line; it is what `trimtab` itself uses, and changes with it. Its frames
  are as above: `{"id": …}` first, then what it says, last `{"exit": code}`, or `{"want": [path, …]}`: ask again with
  those `files`.
- Who follows has places of its own (`followers` of the settings): one client half of them, more are 429, and 503 where
  all are taken, both with `Retry-After`. Who takes nothing for `patience` is cut off.
- Web pages are refused (403): requests with another site's `Origin`, on plain TCP with another `Host` than loopback's.
"""


def page() -> str:
    tags = dict.fromkeys(route.tag for route in ROUTES)
    return HEAD + "".join(f"\n## {tag.capitalize()}\n\n{''.join(_table(tag))}" for tag in tags)


def _table(tag: str) -> Iterator[str]:
    yield "| request | | parameters |\n|---|---|---|\n"
    for route in ROUTES:
        if route.tag == tag:
            yield f"| `{route.method} {route.path}` | {route.summary} | {_parameters(route)} |\n"


def _parameters(route: Route) -> str:
    told = [f"`?{name}`" for name in route.query.model_fields]
    told += [f"`{name}`" for name in (route.body.model_fields if route.body is not None else ())]
    told += ["the body's bytes"] if route.raw else []
    if route.media != JSON and route.status == 200:
        told.append(f"gives `{route.media}`")
    return ", ".join(told)


def main() -> int:
    if "--write" in sys.argv:
        FILE.write_text(page())
    elif "--check" in sys.argv:
        if not FILE.exists() or FILE.read_text() != page():
            print(f"{FILE} is not in step: python -m reconciler.api.reference --write", file=sys.stderr)
            return 1
    else:
        print(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
