"""How sources stand, noted in a store that now and then cannot be written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.sources import noting
from reconciler.sources.noting import Noting
from reconciler.sources.status import SourceStatus, State
from reconciler.store.database import Database
from reconciler.store.standing import Topic, read_one
from schemas.errors import RetryLater
from tests.sources.following import run


def said(state: State, message: str) -> SourceStatus:
    return SourceStatus("shop", "shop", "/shop", state, message, at=1.0)


def test_what_could_not_be_written_is_written_later_unless_something_newer_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, honest, refusals = Database(tmp_path / "state.db"), noting.write, [1, 2]
    monkeypatch.setattr(noting, "AGAIN_SECONDS", 0.01)

    def write(database: Database, new: Mapping[str, list[SourceStatus] | None]) -> None:
        if refusals:
            refusals.pop()
            raise RetryLater("the disk is full")
        honest(database, new)

    monkeypatch.setattr(noting, "write", write)

    async def until_noted(message: str) -> None:
        async with asyncio.timeout(10):
            while (read_one(database, Topic.SOURCE, "shop") or {}).get("message") != message:
                await asyncio.sleep(0.01)

    async def scenario() -> None:
        made = Noting(database)
        task = asyncio.create_task(made.run())
        made.note(said(State.APPLYING, "first"))
        made.note(said(State.READY, "second"))
        await until_noted("second")
        refusals.append(1)
        made.note(said(State.STALLED, "third"))
        made.note(said(State.READY, "fourth"))
        await until_noted("fourth")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)
    database.close()
