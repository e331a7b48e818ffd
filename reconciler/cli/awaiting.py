"""The work of `wait`: look again and again until each object stands as wished."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from reconciler.caller import caller
from reconciler.cli.getting import look_at
from reconciler.cli.report import item_of
from reconciler.cli.selection import Selection, read_key
from reconciler.cli.standings import statuses
from reconciler.cli.steering import SET
from reconciler.engine import Engine, open_engine
from reconciler.status import Health, Status, Sync
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import Key

LOOK_SECONDS = 0.1
CONDITIONS = ("Ready", "Healthy", "Reconciling", "Stalled")
STATUSES = ("True", "False", "Unknown")
_PART = r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]|\[(-?\d+)\]"
PART = re.compile(_PART)
PATH = re.compile(rf"\{{(?P<path>(?:{_PART.replace('(', '(?:')})+)\}}(?:=(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wish:
    """`what` is condition, sync, health, jsonpath, create or delete; `name` of the condition; `value` it is to have;
    `path` into what `get -o json` tells of it, where any value will do if `value` is None."""

    what: str
    name: str = ""
    value: str | None = ""
    path: tuple[str | int, ...] = ()

    def holds(self, status: Status | None, item: Mapping[str, Any] | None = None) -> bool:
        """`item`: as `get -o json` has it, where a path is wished for."""
        if self.what == "delete":
            return status is None
        if status is None:
            return False
        match self.what:
            case "create":
                return True
            case "sync":
                return status.sync.value == self.value
            case "health":
                return status.health.value == self.value
            case "jsonpath":
                found = value_at(item, self.path)
                return found is not None and self.value in (None, _written(found))
            case _:
                return status.condition(self.name).status == self.value


def read_wish(text: str) -> Wish:
    """`condition=Ready`, `condition=Ready=False`, `sync=Synced`, `health=Healthy`, `jsonpath={.process.phase}=running`,
    `create`, `delete`. Words in any case, as kubectl reads them. Raises Refused."""
    what, _, rest = text.partition("=")
    if what in ("create", "delete") and not rest:
        return Wish(what)
    if what == "jsonpath":
        return _read_path(text, rest)
    name, _, value = rest.partition("=")
    known = {"sync": [each.value for each in Sync], "health": [each.value for each in Health]}
    if what in known and (word := _word(rest, known[what])):
        return Wish(what, value=word)
    condition, status = _word(name, CONDITIONS), _word(value or "True", STATUSES)
    if what == "condition" and condition and status:
        return Wish("condition", condition, status)
    raise Refused(
        f"{text!r} is no wish",
        step="--for",
        hint=f"write condition= one of {', '.join(CONDITIONS)}; sync=Synced; health=Healthy; "
        "jsonpath={.process.phase}=running; create; or delete",
    )


def _word(text: str, known: Iterable[str]) -> str:
    return next((each for each in known if each.lower() == text.lower()), "")


def _read_path(text: str, rest: str) -> Wish:
    """kubectl's form: `{.a.b[0]}=value`, `{.a['b.c']}`; quotes around it are the shell's."""
    found = PATH.fullmatch(rest)
    if found is None:
        raise Refused(f"{text!r} is no path", step="--for", hint="write it as in jsonpath={.process.phase}=running")
    parts = [(name or quoted, number) for name, quoted, number in PART.findall(found["path"])]
    path = tuple(int(number) if number else name for name, number in parts)
    return Wish("jsonpath", value=found["value"], path=path)


def value_at(item: Any, path: Sequence[str | int]) -> Any:
    """None where there is nothing."""
    for part in path:
        item = _part_of(item, part)
    return item


def _part_of(item: Any, part: str | int) -> Any:
    if isinstance(part, int):
        return item[part] if isinstance(item, list) and -len(item) <= part < len(item) else None
    return item.get(part) if isinstance(item, Mapping) else None


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def wait(layout: Layout, names: Sequence[str], text: str, seconds: float) -> int:
    """The exit code. Raises Refused for a wish or name that nobody understands."""
    wish = read_wish(text)
    words = [name if name.startswith(SET) else str(read_key(name)) for name in names]
    deadline = time.monotonic() + seconds
    with open_engine(layout) as engine:
        while left := [word for word in words if not _stands(engine, word, wish)]:
            if time.monotonic() >= deadline or caller().stops() or caller().has_left():
                for word in left:
                    click.echo(f"{word}: not {text} after {seconds:g} s{_why(engine, word)}", err=True)
                return 1
            time.sleep(LOOK_SECONDS)
    for word in words:
        click.echo(f"{word}: {text}")
    return 0


def _stands(engine: Engine, word: str, wish: Wish) -> bool:
    found = _statuses(engine, word)
    if not found:
        return wish.what == "delete"
    items = _items(engine, found) if wish.what == "jsonpath" else {}
    return all(wish.holds(status, items.get(key)) for key, status in found.items())


def _items(engine: Engine, keys: Iterable[Key]) -> dict[Key, Mapping[str, Any]]:
    """As `get -o json` tells of them, secrets left out."""
    rows = look_at(engine, Selection(keys=tuple(keys)))
    return {row.seen.key: item_of(row, secrets=False) for row in rows}


def _statuses(engine: Engine, word: str) -> dict[Key, Status]:
    if word.startswith(SET):
        return statuses(engine, of_set=word.removeprefix(SET))
    return statuses(engine, keys=[read_key(word)])


def _why(engine: Engine, word: str) -> str:
    found = _statuses(engine, word)
    if not found:
        return f": there is no {word}"
    return _sentence(text for text in (status.condition("Ready").message for status in found.values()) if text)


def _sentence(texts: Iterable[str]) -> str:
    return next((f": {text}" for text in texts), "")
