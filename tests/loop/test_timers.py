"""A timer that meets a fault nobody foresaw is heard of, and goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.engine import Engine
from reconciler.images import following
from reconciler.images.follow import Followed
from reconciler.images.following import Following, note_written
from reconciler.images.selection import read_state
from reconciler.loop import health_checks, timers
from reconciler.loop import loop as loop_module
from reconciler.loop.settings import LoopSettings, Worker
from reconciler.loop.wanted import Wanted, data_version
from reconciler.probes import probe
from reconciler.store.database import Database
from reconciler.store.standing import Topic, read_one, write_standing
from runtime.layout import Layout
from schemas.envelope import Metadata
from schemas.image import ImageSpec
from schemas.names import Key, Kind
from tests.loop.driving import Driven, driven
from tests.loop.test_health import container
from tests.machine.machine import Machine, until
from tests.machine.probe import document

QUICK = LoopSettings(store_poll=0.02)
Told = list[tuple[str, Mapping[str, Any]]]


def faults(told: Told) -> list[Mapping[str, Any]]:
    return [values for event, values in told if event == "timer.failed"]


def test_a_fault_is_told_with_its_traceback_and_the_pause_grows_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    told: Told = []
    pauses: list[float] = []
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls <= 12:
            raise ValueError("unforeseen")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(random, "random", lambda: 0.0)
    asyncio.run(timers.kept("resync", work, lambda *each: told.append(each)))
    assert calls == 13 and pauses == sorted(pauses) and pauses[0] < 1.0 and pauses[-1] == 60.0
    assert [each["timer"] for each in faults(told)] == ["resync"] * 12
    assert "unforeseen" in faults(told)[0]["error"] and "in work" in faults(told)[0]["traceback"]


def test_a_timer_that_is_cancelled_ends() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(timers.kept("store", asyncio.Event().wait, lambda *each: None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 10)
        assert task.cancelled()

    asyncio.run(scenario())


@pytest.mark.kernel
def test_an_apply_is_noticed_after_a_look_at_the_store_has_failed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, failures = data_version, iter((True,))

    def fails_once(engine: Engine) -> Any:
        if next(failures, False):
            raise ValueError("unforeseen")
        return version(engine)

    monkeypatch.setattr(loop_module, "data_version", fails_once)
    with driven(machine.layout, QUICK) as loop:
        until(lambda: bool(faults(loop.told)))
        machine.apply(document("Volume", "late"))
        until(lambda: seen(loop, "shop"))
    (fault,) = faults(loop.told)
    assert fault["timer"] == "store"


def seen(loop: Driven, set_name: str) -> bool:
    return any(event == "passed" and values["set"] == set_name for event, values in loop.told)


@pytest.mark.kernel
def test_a_health_check_goes_on_after_it_has_failed_by_itself(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter((True,))

    def fails_once(*args: Any) -> Any:
        if next(failures, False):
            raise ValueError("unforeseen")
        return probe(*args)

    monkeypatch.setattr(health_checks, "probe", fails_once)
    check = {"test": ["CMD", "true"], "interval": "50ms", "retries": 1}
    machine.converge(machine.image + container("app", healthcheck=check))
    with driven(machine.layout, QUICK) as loop:
        until(lambda: any(event == "health" and values["status"] == "healthy" for event, values in loop.told))
    assert [each["timer"] for each in faults(loop.told)] == ["health of Container/app"]


def wanted(*names: str) -> Wanted:
    """Images that follow their repositories."""
    spec = ImageSpec.model_validate({"ref": "registry.lan/app:1", "follow": "digest"})
    desired = {
        Key(Kind.IMAGE, name): SimpleNamespace(declared=SimpleNamespace(spec=spec, metadata=Metadata("app")))
        for name in names
    }
    return cast(Wanted, SimpleNamespace(desired=desired, users={}, inventory={}, steering={}, set_of={}))


def test_a_registry_that_is_dead_or_a_fault_keeps_no_other_image_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "BEAT_SECONDS", 0.001)
    beats: list[str] = []
    told: Told = []

    class Slow:
        async def do(self, call: Any, *args: Any) -> Any:
            if call is read_state:
                return Followed()
            name = args[1].key.name
            beats.append(name)
            if name == "dead":
                await asyncio.Event().wait()
            if name == "broken":
                raise ValueError("unforeseen")
            return Followed(), Followed()

    async def scenario() -> None:
        images = wanted("dead", "broken", "well")
        follows = Following(
            cast(Engine, SimpleNamespace(database=None)),
            cast(Worker, Slow()),
            lambda: images,
            lambda keys, why: None,
            lambda *each: told.append(each),
        )
        task = asyncio.create_task(follows.run())
        async with asyncio.timeout(20):
            while beats.count("well") < 20 or not faults(told):
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert beats.count("dead") == 1
    assert {each["timer"] for each in faults(told)} == {"following Image/broken"}


def test_what_was_written_back_is_noted_beside_what_is_newer_by_now(tmp_path: Path) -> None:
    key, database = Key(Kind.IMAGE, "app"), Database(tmp_path / "store.db")
    engine = Engine(Layout(tmp_path, tmp_path), database)
    before = Followed("wish", selected="one", available="one")
    newer = Followed("wish", selected="two", previous="one", available="two", bad={"zero": "it was ill"})
    try:
        write_standing(database, Topic.FOLLOWED, {"app": newer.fields()})
        note_written(engine, key, before, "")
        known = read_one(database, Topic.FOLLOWED, "app")
        assert known == {**newer.fields(), "written": "one"}
        note_written(engine, key, Followed("another wish", selected="three"), "refused")
        assert read_one(database, Topic.FOLLOWED, "app") == known
        write_standing(database, Topic.FOLLOWED, {"app": None})
        note_written(engine, key, before, "")
        assert read_one(database, Topic.FOLLOWED, "app") is None
    finally:
        database.close()
