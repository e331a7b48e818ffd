"""A set that somebody else than its source has changed: put back, told, or left, as `self_heal` says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.sources.attempts import Attempt, Memory, Result, is_strayed
from reconciler.sources.followed import Followed
from reconciler.sources.follower import Applied
from reconciler.sources.roster import Roster
from reconciler.sources.status import State
from reconciler.sources.strayed import strayed_from
from reconciler.store.inventory import forget
from reconciler.store.pins import Pin, write_pin
from reconciler.store.standing import Topic, write_standing
from schemas.errors import Refused
from schemas.load import Text, load
from schemas.names import Key, Kind
from tests.sources.following import run
from tests.sources.rosters import Stage, config, followed, message_of, running, state_of

LEFT = Attempt("r1", "p", Result.APPLIED, left="abc")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "shop"
    path.mkdir()
    (path / "a.yaml").write_text(config("a"))
    return path


def by_hand(stage: Stage, *manifests: str) -> None:
    """`trimtab apply --set shop`: nothing is pruned."""
    stage.record("shop", load([Text("mine.yaml", "---\n".join(manifests))], {}, set="shop"), prune=False)


async def ready(stage: Stage, roster: Roster, offers: int) -> None:
    await stage.offered(offers)
    await stage.until(lambda: state_of(roster, "shop") is State.READY)


@pytest.mark.parametrize(
    ("memory", "asked", "strayed"),
    [
        (Memory(LEFT, LEFT), "abc", False),
        (Memory(LEFT, LEFT), "other", True),
        (Memory(LEFT, LEFT), "", True),
        (Memory(Attempt("r2", "p", Result.REFUSED), LEFT), "other", False),
        (Memory(Attempt("r1", "p", Result.APPLIED), Attempt("r1", "p", Result.APPLIED)), "other", False),
        (Memory(), "other", False),
    ],
)
def test_only_what_was_applied_of_what_is_offered_can_stray(memory: Memory, asked: str, strayed: bool) -> None:
    assert is_strayed(memory, "r1", "p", asked) is strayed
    assert not is_strayed(memory, "r3", "p", asked)


def test_what_a_person_changed_in_a_followed_set_is_put_back_once(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory)]) as roster:
            await ready(stage, roster, 1)
            by_hand(stage, config("a", "mine"))
            assert strayed_from(stage.database, "shop") == "shop"
            roster.refresh()
            offer = await stage.offered(2)
            assert "puts back what somebody" in offer.cause
            await stage.until(lambda: state_of(roster, "shop") is State.READY)
            assert strayed_from(stage.database, "shop") is None
            by_hand(stage, config("a"))
            roster.refresh()
            await stage.quiet(2)

    run(scenario)


def test_with_self_heal_off_a_change_is_told_and_stays_until_somebody_asks(directory: Path, tmp_path: Path) -> None:
    sources: Sequence[Followed] = [followed("shop", directory, self_heal="off")]

    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, sources) as roster:
            await ready(stage, roster, 1)
            by_hand(stage, config("b"))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.OUT_OF_SYNC)
            assert "self_heal is off" in message_of(roster) and "--retry" in message_of(roster)
        # nor does a daemon that starts anew put it back
        async with running(stage, sources) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.OUT_OF_SYNC)
            await stage.quiet(1)
            roster.retry("shop")
            await ready(stage, roster, 2)
            # a new revision ends it too
            by_hand(stage, config("a", "mine"))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.OUT_OF_SYNC)
            (directory / "a.yaml").write_text(config("a", "newer"))
            await ready(stage, roster, 3)

    run(scenario)


def test_a_change_that_somebody_takes_back_is_none(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory, self_heal="off")]) as roster:
            await ready(stage, roster, 1)
            by_hand(stage, config("a", "mine"))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.OUT_OF_SYNC)
            by_hand(stage, config("a"))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.READY)
            await stage.quiet(1)

    run(scenario)


def test_a_set_that_was_deleted_is_missing_and_not_ready(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory, self_heal="off")]) as roster:
            await ready(stage, roster, 1)
            forget(stage.database, Key(Kind.CONFIG, "a"))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.MISSING)
            assert "--retry" in message_of(roster)

    run(scenario)


def test_a_change_is_put_back_when_its_window_begins(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.sources.roster.WINDOWS", 0.05)
    opened: list[bool] = []
    monkeypatch.setattr("reconciler.steering.is_open", lambda windows, now: bool(opened))

    async def scenario() -> None:
        stage = Stage(tmp_path)
        source = followed("shop", directory, self_heal="window", window="Sun 02:00-03:00")
        async with running(stage, [source]) as roster:
            await ready(stage, roster, 1)
            by_hand(stage, config("a", "mine"))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.OUT_OF_SYNC)
            assert "waits for the window Sun 02:00-03:00" in message_of(roster)
            opened.append(True)
            await ready(stage, roster, 2)

    run(scenario)


def test_a_new_revision_waits_for_its_window_and_the_first_does_not(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.sources.roster.WINDOWS", 0.05)
    opened: list[bool] = []
    monkeypatch.setattr("reconciler.steering.is_open", lambda windows, now: bool(opened))

    async def scenario() -> None:
        stage = Stage(tmp_path)
        source = followed("shop", directory, rollouts="window", window="Sun 02:00-03:00")
        async with running(stage, [source]) as roster:
            await ready(stage, roster, 1)
            (directory / "a.yaml").write_text(config("a", "newer"))
            await stage.until(lambda: state_of(roster, "shop") is State.WAITING)
            assert "waits for the window Sun 02:00-03:00, opens at " in message_of(roster)
            assert "`trimtab source fetch shop --retry` applies it now" in message_of(roster)
            await stage.quiet(1)
            opened.append(True)
            await ready(stage, roster, 2)
            opened.clear()
            (directory / "a.yaml").write_text(config("a", "newest"))
            await stage.until(lambda: state_of(roster, "shop") is State.WAITING)
            roster.retry("shop")
            await ready(stage, roster, 3)

    run(scenario)


def test_nothing_new_of_a_suspended_set_is_applied_until_it_is_resumed(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory)]) as roster:
            await ready(stage, roster, 1)
            write_standing(stage.database, Topic.STEERING, {"set/shop": {"suspended": True}})
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.SUSPENDED)
            assert "`trimtab resume set/shop` ends that" in message_of(roster)
            (directory / "a.yaml").write_text(config("a", "newer"))
            by_hand(stage, config("b"))
            roster.refresh()
            await stage.quiet(1)
            write_standing(stage.database, Topic.STEERING, {"set/shop": {}})
            roster.refresh()
            await ready(stage, roster, 2)

    run(scenario)


@pytest.mark.parametrize("outcome", [Applied(False, "1 failed"), Refused("the port is taken")])
def test_what_failed_is_not_tried_again_after_a_rollback_but_by_a_new_revision_or_by_hand(
    directory: Path, tmp_path: Path, outcome: Applied | Refused
) -> None:
    sources: Sequence[Followed] = [followed("shop", directory, interval="1s")]

    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, sources) as roster:
            await ready(stage, roster, 1)
            stage.outcomes["shop"] = outcome
            (directory / "a.yaml").write_text(config("a", "bad"))
            await stage.offered(2)
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            # `trimtab rollback`: pinned, and then applied as it was
            write_pin(stage.database, Pin("shop", 1, "", time.time()))
            by_hand(stage, config("a"))
            roster.refresh()
            await stage.quiet(2, 1.5)
        del stage.outcomes["shop"]
        async with running(stage, sources) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.PINNED)
            await stage.quiet(2, 1.5)
            (directory / "a.yaml").write_text(config("a", "good"))
            await ready(stage, roster, 3)
            write_pin(stage.database, Pin("shop", 1, "", time.time()))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.PINNED)
            roster.retry("shop")
            await ready(stage, roster, 4)

    run(scenario)


def test_what_took_too_long_is_gone_on_with_by_the_next_daemon_too_but_not_after_a_rollback(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.sources.follower.FIRST_PAUSE", 0.05)
    sources: Sequence[Followed] = [followed("shop", directory)]

    async def scenario() -> None:
        stage = Stage(tmp_path)
        stage.outcomes["shop"] = Applied(False, "1 created, 1 skipped", timed_out=True)
        async with running(stage, sources) as roster:
            await stage.offered(3)
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            status = roster.statuses()["shop"]
            assert (status.reason, status.temporary) == ("TimedOut", True)
            assert status.applied and status.next_fetch > time.time() - 5
        made = len(stage.offers)
        async with running(stage, sources) as roster:
            await stage.offered(made + 1)
            write_pin(stage.database, Pin("shop", 1, "", time.time()))
            await stage.until(lambda: state_of(roster, "shop") is State.PINNED)
            await stage.quiet(len(stage.offers))
        del stage.outcomes["shop"]
        made = len(stage.offers)
        async with running(stage, sources) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.PINNED)
            await stage.quiet(made)
            roster.retry("shop")
            await ready(stage, roster, made + 1)

    run(scenario)


def test_what_failed_is_tried_again_when_somebody_reconciles_the_source(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        stage.outcomes["shop"] = Refused("the port is taken")
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
        # also by a daemon that starts anew, and that tries nothing by itself
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            write_standing(stage.database, Topic.STEERING, {"Source/shop": {"at": time.time(), "suspended": True}})
            roster.refresh()
            await stage.quiet(1)
            write_standing(stage.database, Topic.STEERING, {"Source/shop": {"at": time.time()}})
            roster.refresh()
            await stage.quiet(1)
            del stage.outcomes["shop"]
            # `trimtab reconcile source/shop`
            write_standing(stage.database, Topic.STEERING, {"Source/shop": {"at": time.time()}})
            roster.refresh()
            await ready(stage, roster, 2)
            await stage.quiet(2)

    run(scenario)
