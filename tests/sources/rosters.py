"""A roster with an apply that only notes what it is offered, and puts it into the inventory as the real one does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from reconciler.sources.followed import Followed
from reconciler.sources.follower import Applied
from reconciler.sources.offer import Offer
from reconciler.sources.roster import Roster
from reconciler.sources.status import SourceStatus, State
from reconciler.sources.strayed import digests_of
from reconciler.store.database import Database
from reconciler.store.inventory import Entry, forget, read_inventory, record_set
from reconciler.wanted.manifests import manifest_of
from runtime.layout import Layout
from schemas.envelope import Declared
from schemas.load import Text, load
from schemas.source import SourceSpec

LIMIT = 15.0


def config(name: str, content: str = "x") -> str:
    return f"apiVersion: trimtab/v1\nkind: Config\nmetadata: {{name: {name}}}\nspec: {{content: {content!r}}}\n"


def source_manifest(name: str, **fields: object) -> str:
    return f"apiVersion: trimtab/v1\nkind: Source\nmetadata: {{name: {name}}}\nspec: {fields!r}\n".replace(
        "True", "true"
    ).replace("False", "false")


class Stage:
    """What a roster works with. `fails`: raised or returned by the next applies, by set."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory / "root", directory / "run")
        self.database = Database(self.layout.store)
        self.offers: list[Offer] = []
        self.statuses: list[SourceStatus] = []
        self.outcomes: dict[str, Exception | Applied] = {}
        self.changed = asyncio.Event()

    async def apply(self, offer: Offer) -> Applied:
        self.offers.append(offer)
        self.changed.set()
        outcome = self.outcomes.get(offer.set, Applied(True, "applied"))
        if isinstance(outcome, Exception):
            raise outcome
        self.record(offer.set, offer.declared, prune=offer.prune)
        return replace(outcome, left=digests_of(read_inventory(self.database).values()).get(offer.set, ""))

    def record(self, set_name: str, declared: Iterable[Declared], *, prune: bool = True) -> None:
        known = list(declared)
        entries = [
            Entry(item.key, set_name, item.origin.file, item.origin.line, "", manifest_of(item)) for item in known
        ]
        record_set(self.database, set_name, "test", entries, time.time())
        keys = {item.key for item in known}
        if prune:
            gone = [k for k, e in read_inventory(self.database).items() if e.set == set_name and k not in keys]
            forget(self.database, *gone)

    def declare(self, set_name: str, *manifests: str) -> None:
        """As `trimtab apply` does it."""
        self.record(set_name, load([Text("by-hand.yaml", "---\n".join(manifests))], {}, set=set_name))

    def tell(self, status: SourceStatus) -> None:
        self.statuses.append(status)
        self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def offered(self, count: int) -> Offer:
        """The `count`-th offer, counted from 1."""
        await self.until(lambda: len(self.offers) >= count)
        return self.offers[count - 1]

    async def quiet(self, count: int, seconds: float = 0.5) -> None:
        """No more than `count` offers."""
        await asyncio.sleep(seconds)
        assert len(self.offers) == count, [offer.cause for offer in self.offers]


def followed(name: str, path: Path, **fields: object) -> Followed:
    return Followed(name, SourceSpec.model_validate({"directory": str(path), "interval": "1h", **fields}))


@asynccontextmanager
async def running(stage: Stage, settings: Sequence[Followed] = ()) -> AsyncIterator[Roster]:
    roster = Roster(stage.layout, stage.database, stage.apply, settings, {"TAG": "1"}, stage.tell)
    task = asyncio.create_task(roster.run())
    try:
        yield roster
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def state_of(roster: Roster, name: str) -> State | None:
    status = roster.statuses().get(name)
    return status.state if status is not None else None


def message_of(roster: Roster, name: str = "shop") -> str:
    return roster.statuses()[name].message
