"""The state file: what it keeps, what it says of itself when it is damaged, of a newer format, or out of space."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.store.database import Database
from reconciler.store.events import KEPT, Event, read_events, record_events
from reconciler.store.inventory import Entry, read_inventory, record_set
from reconciler.store.records import Record, read_records, write_record
from schemas.errors import Refused, RetryLater
from schemas.names import Key, Kind

WEB = Key(Kind.CONTAINER, "web-1")
NEWER = 1_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path / "state.db")) as made:
        yield made


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_an_object_that_is_changed_stays_as_old_as_it_is(database: Database) -> None:
    write_record(database, Record(WEB, {"a": 1}, {}, made_at=100.0))
    write_record(database, Record(WEB, {"a": 2}, {"b": 3}, made_at=200.0))
    kept = read_records(database)[WEB]
    assert (kept.fields, kept.asked, kept.made_at) == ({"a": 2}, {"b": 3}, 100.0)


def test_what_is_asked_for_again_is_not_written_again(database: Database) -> None:
    asked = Entry(WEB, "shop", "shop.yaml", 3, "", {"kind": "Container", "spec": {"image": "web"}})
    record_set(database, "shop", "shop.yaml", [asked], 100.0)
    with closing(Database(database.path)) as other:
        before = data_version(other)
        record_set(database, "shop", "shop.yaml", [asked], 200.0)
        assert data_version(other) == before
        record_set(database, "shop", "shop.yaml", [replace(asked, line=4)], 300.0)
        assert data_version(other) != before
    kept = read_inventory(database)[WEB]
    assert (kept.line, kept.generation, kept.changed_at) == (4, 1, 100.0)


def data_version(database: Database) -> int:
    return int(database.connection.execute("PRAGMA data_version").fetchone()[0])


def test_an_event_is_there_for_others_before_anything_is_closed(database: Database) -> None:
    record_events(database, [Event(1.0, "Container/web-1", "Normal", "Created", "does not exist")])
    with closing(Database(database.path)) as other:
        assert [event.reason for event in read_events(other)] == ["Created"]


def test_what_must_survive_a_power_cut_waits_for_the_disk_again_after_an_event(database: Database) -> None:
    record_events(database, [Event(1.0, "Container/web-1", "Normal", "Created", "does not exist")])
    assert database.connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_newer_format_is_refused_with_a_remedy_and_left_alone(database: Database) -> None:
    database.connection.execute(f"PRAGMA user_version={NEWER}")
    database.close()
    before = database.path.read_bytes()
    with pytest.raises(Refused, match=rf"of a newer trimtab \(format {NEWER}; .*nothing was touched; upgrade trimtab"):
        Database(database.path)
    assert database.path.read_bytes() == before
    assert version(database.path) == NEWER


def test_no_space_undoes_the_change_and_heals_once_there_is_some(database: Database) -> None:
    write_record(database, Record(WEB, {"a": 1}, {}))
    (pages,) = database.connection.execute("PRAGMA page_count").fetchone()
    database.connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(RetryLater, match=r"no space is left on the disk .*state.db.*; free some"):
        write_record(database, Record(WEB, {"a": "x" * 100_000}, {}))
    assert read_records(database)[WEB].fields == {"a": 1}
    database.connection.execute("PRAGMA max_page_count=100000")
    write_record(database, Record(WEB, {"a": 2}, {}))
    assert read_records(database)[WEB].fields == {"a": 2}


def test_a_fault_of_ours_is_not_the_files(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"), database.begin() as connection:
        connection.execute("INSERT INTO nowhere VALUES (1)")


def test_events_and_changes_are_bounded_and_the_newest_stay(database: Database) -> None:
    for start in range(0, 3 * KEPT, 5000):
        told = [Event(n, "Container/a", "Normal", "Restarted", str(n)) for n in range(start, start + 5000)]
        record_events(database, told)
    messages = [event.message for event in read_events(database, last=10 * KEPT)]
    assert messages == [str(n) for n in range(2 * KEPT, 3 * KEPT)]
    assert database.connection.execute("SELECT count(*) FROM changes").fetchone() == (10_000,)
