"""Conditions, sync and health from what is known of an object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.status import Health, Situation, Status, Sync, read_status, status_of, together
from reconciler.store.database import Database
from reconciler.store.inventory import Entry, record_set
from reconciler.store.standing import Topic, read_standing, write_standing
from reconciler.store.status import read_statuses, read_together
from schemas.names import Key, Kind

RUNS: dict[str, Any] = {"process": "running", "wanted_process": "running"}
TABLE = {
    "well": (Situation(), "True", "Synced", "Healthy", "AsDeclared"),
    "runs": (Situation(**RUNS), "True", "Synced", "Healthy", "AsDeclared"),
    "done": (Situation(process="completed", wanted_process="running"), "True", "Synced", "Healthy", "AsDeclared"),
    "missing": (Situation(exists=False), "False", "OutOfSync", "Missing", "Missing"),
    "drift": (Situation(differences=("limits: 1 → 2",), **RUNS), "False", "OutOfSync", "Degraded", "OutOfSync"),
    "starting": (Situation(probed="starting", **RUNS), "False", "Synced", "Progressing", "Starting"),
    "ill": (Situation(probed="unhealthy", **RUNS), "False", "Synced", "Degraded", "Unhealthy"),
    "failing": (Situation(failure="no device"), "False", "OutOfSync", "Degraded", "Failed"),
    "refused": (Situation(failure="no user", refused=True), "False", "OutOfSync", "Degraded", "Refused"),
    "waiting": (
        Situation(process="exit code 1", wanted_process="running", waits="restart: always, attempt 3 after 0.2 s"),
        *("False", "Synced", "Progressing", "Waiting"),
    ),
    "given up": (
        Situation(process="exit code 1", wanted_process="running", given_up="gave up after 3 restarts in a row"),
        *("False", "Synced", "Degraded", "GivenUp"),
    ),
    "ended": (Situation(process="exit code 1", wanted_process="running"), "False", "Synced", "Degraded", "Ended"),
    "suspended": (
        Situation(differences=("process: …",), suspended=True, held="suspended", **RUNS),
        *("False", "OutOfSync", "Suspended", "Suspended"),
    ),
    "stopped": (Situation(process="stopped", wanted_process="stopped"), "True", "Synced", "Suspended", "AsDeclared"),
}


@pytest.mark.parametrize("name", TABLE)
def test_how_an_object_stands(name: str) -> None:
    found, ready, sync, health, reason = TABLE[name]
    status = status_of(found, 100.0)
    condition = status.condition("Ready")
    assert (condition.status, status.sync.value, status.health.value, condition.reason) == (ready, sync, health, reason)


@pytest.mark.parametrize(
    ("name", "reconciling", "stalled"),
    [
        ("well", "False", "False"),
        ("drift", "True", "False"),
        ("failing", "True", "False"),
        ("refused", "False", "True"),
        ("waiting", "True", "False"),
        ("given up", "False", "True"),
        ("suspended", "False", "True"),
    ],
)
def test_what_is_worked_on_and_what_is_stuck(name: str, reconciling: str, stalled: str) -> None:
    status = status_of(TABLE[name][0], 100.0)
    assert status.condition("Reconciling").status == reconciling
    assert status.condition("Stalled").status == stalled


def test_a_condition_keeps_the_moment_it_became_so() -> None:
    first = status_of(Situation(**RUNS), 100.0)
    second = status_of(Situation(probed="unhealthy", **RUNS), 200.0, first)
    third = status_of(Situation(probed="unhealthy", **RUNS), 300.0, second)
    assert second.condition("Ready").since == third.condition("Ready").since == 200.0
    assert third.condition("Stalled").since == 100.0
    assert second == third and read_status(third.fields()) == third


def test_the_worst_counts_together() -> None:
    def of(*names: str) -> list[Status]:
        return [status_of(TABLE[name][0], 0.0) for name in names]

    assert together(of()) == (Sync.SYNCED, Health.HEALTHY)
    assert together(of("well", "starting")) == (Sync.SYNCED, Health.PROGRESSING)
    assert together(of("well", "starting", "drift")) == (Sync.OUT_OF_SYNC, Health.DEGRADED)


def test_statuses_are_kept_by_set_and_one_for_each_object(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    try:
        keys = [Key(Kind.VOLUME, "one"), Key(Kind.VOLUME, "two")]
        for key, name in zip(keys, ("shop", "other"), strict=True):
            manifest = {"kind": "Volume", "metadata": {"name": key.name}, "spec": {}}
            record_set(database, name, "here", [Entry(key, name, "a.yaml", 1, "", manifest)], 1.0)
        assert read_together(database).health is Health.UNKNOWN
        for word in ("drift", "well"):
            write_standing(database, Topic.STATUS, {str(keys[0]): status_of(TABLE[word][0], 1.0).fields()})
        write_standing(database, Topic.STATUS, {str(keys[1]): status_of(TABLE["drift"][0], 1.0).fields()})
        assert set(read_statuses(database, "shop")) == {"Volume/one"}
        assert read_together(database, "shop").sync is Sync.SYNCED
        assert read_together(database).sync is Sync.OUT_OF_SYNC
        assert read_together(database).ready == 1
        write_standing(database, Topic.STATUS, {str(key): None for key in keys})
        assert read_standing(database, Topic.STATUS) == {}
    finally:
        database.close()
