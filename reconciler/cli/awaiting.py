"""The work of `wait`: look again and again until each object stands as wished."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from reconciler.caller import caller
from reconciler.cli.selection import read_key
from reconciler.cli.standings import statuses
from reconciler.cli.steering import SET
from reconciler.engine import Engine, open_engine
from reconciler.status import Health, Status, Sync
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import Key

LOOK_SECONDS = 0.1
CONDITIONS = ("Ready", "Healthy", "Reconciling", "Stalled")


@dataclass(frozen=True, slots=True)
class Wish:
    """`what` is condition, sync, health or delete; `name` of the condition; `value` it is to have."""

    what: str
    name: str = ""
    value: str = ""

    def holds(self, status: Status | None) -> bool:
        if self.what == "delete":
            return status is None
        if status is None:
            return False
        match self.what:
            case "sync":
                return status.sync.value == self.value
            case "health":
                return status.health.value == self.value
            case _:
                return status.condition(self.name).status == self.value


def read_wish(text: str) -> Wish:
    """`condition=Ready`, `condition=Ready=False`, `sync=Synced`, `health=Healthy`, `delete`. Raises Refused."""
    what, _, rest = text.partition("=")
    name, _, value = rest.partition("=")
    known = {"sync": [each.value for each in Sync], "health": [each.value for each in Health]}
    if what == "delete" and not rest:
        return Wish("delete")
    if what in known and rest in known[what]:
        return Wish(what, value=rest)
    if what == "condition" and name in CONDITIONS and value in ("", "True", "False", "Unknown"):
        return Wish("condition", name, value or "True")
    raise Refused(
        f"{text!r} is no wish",
        step="--for",
        hint=f"write condition= one of {', '.join(CONDITIONS)}; sync=Synced; health=Healthy; or delete",
    )


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
    return all(wish.holds(status) for status in found.values())


def _statuses(engine: Engine, word: str) -> dict[Key, Status]:
    if word.startswith(SET):
        return statuses(engine, of_set=word.removeprefix(SET))
    return statuses(engine, keys=[read_key(word)])


def _why(engine: Engine, word: str) -> str:
    told = [status.condition("Ready").message for status in _statuses(engine, word).values()]
    return _sentence(text for text in told if text)


def _sentence(texts: Iterable[str]) -> str:
    return next((f": {text}" for text in texts), "")
