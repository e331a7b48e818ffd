"""A state file that was lost, damaged or cut short: what was asked and made is known again, or the damage is told."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from reconciler.engine import open_engine
from reconciler.store import copies, database
from reconciler.store.attempts import read_attempts
from reconciler.store.changes import newest_version, read_changes
from reconciler.store.database import Database
from reconciler.store.events import Event, read_events, record_events
from reconciler.store.inventory import Entry, asked_version, forget, read_inventory, read_sets, record_set
from reconciler.store.leases import read_leases, record_leases
from reconciler.store.pins import Pin, read_pin, write_pin
from reconciler.store.records import Record, read_records, remove_record, write_record
from reconciler.store.standing import Topic, read_standing, write_standing
from runtime.layout import Layout
from schemas.errors import Refused, RetryLater
from schemas.names import Key, Kind

WEB, DB = Key(Kind.CONTAINER, "web-1"), Key(Kind.VOLUME, "db")
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


class Opened:
    """A store that is opened, and what it said about it."""

    def __init__(self, path: Path, *, thorough: bool = False) -> None:
        self.told: list[str] = []
        self.database = Database(path, self.told.append, thorough=thorough)


def entry(key: Key, number: int = 0, set_name: str = "shop") -> Entry:
    manifest = {"kind": key.kind.value, "metadata": {"name": key.name}, "spec": {"number": number}}
    return Entry(key, set_name, "shop.yaml", 3, "c0ffee", manifest)


def fill(path: Path, objects: int = 2) -> None:
    with closing(Database(path)) as made:
        keys = [WEB, DB, *(Key(Kind.CONFIG, f"c{number}") for number in range(objects - 2))]
        record_set(made, "shop", "shop.yaml", [entry(key) for key in keys], 100.0)
        for key in keys:
            write_record(made, Record(key, {"a": "x" * 500}, {"b": 2}, (DB,), None, "shop", 100.0))
        record_leases(made, {"subnets": {"front/4": "10.1.0.0/24"}, "address/front/4": {"web-1": "10.1.0.2"}})
        write_pin(made, Pin("shop", 3, "c0ffee", 100.0))
        write_standing(made, Topic.STEERING, {"Container/web-1": {"suspended": True}})
        write_standing(made, Topic.HEALTH, {"Container/web-1": {"state": "healthy"}})
        record_events(made, [Event(1.0, "Container/web-1", "Normal", "Created", "does not exist")])


def known(store: Database) -> tuple[object, ...]:
    """All that must not be lost."""
    return (
        read_records(store),
        {key: (e.set, e.file, e.line, e.commit, e.manifest) for key, e in read_inventory(store).items()},
        read_sets(store),
        read_leases(store),
        read_pin(store, "shop"),
        read_attempts(store),
        read_standing(store, Topic.STEERING),
    )


def of(path: Path) -> tuple[object, ...]:
    with closing(Database(path)) as store:
        return known(store)


def companions(path: Path) -> list[Path]:
    return [
        path.with_name(path.name + each) for each in ("", "-wal", "-shm") if path.with_name(path.name + each).exists()
    ]


def remove(path: Path) -> None:
    for each in companions(path):
        each.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: PAGE * 3 + 100])


def overwrite(path: Path) -> None:
    path.write_bytes(random.Random(7).randbytes(path.stat().st_size))


def scribble(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 400)


def flip(path: Path) -> None:
    """Every page but the first, one by one the other way round."""
    data = bytearray(path.read_bytes())
    for at in range(PAGE, len(data), PAGE):
        data[at : at + PAGE] = data[at : at + PAGE][::-1]
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [remove, truncate, cut, overwrite, scribble, flip])
def test_what_was_asked_and_made_is_known_again(path: Path, harm: Callable[[Path], None]) -> None:
    fill(path, 30)
    before = of(path)
    harm(path)
    opened = Opened(path)
    with closing(opened.database) as store:
        assert known(store) == before
        (told,) = opened.told
        assert "30 objects, 1 sets" in told and ("was lost" in told or "was damaged" in told)
        assert [event.message for event in read_events(store) if event.reason == "StateRestored"] == [told]
    assert Opened(path).told == []
    assert of(path) == before


@pytest.mark.parametrize("harm", [cut, overwrite, scribble, flip])
def test_a_damaged_file_is_kept_aside_byte_for_byte(path: Path, harm: Callable[[Path], None]) -> None:
    fill(path)
    harm(path)
    damaged = path.read_bytes()
    (told,) = Opened(path).told
    (aside,) = path.parent.glob("state.db.damaged-*Z")
    assert str(aside) in told
    assert aside.read_bytes() == damaged


def test_two_damages_are_two_files(path: Path) -> None:
    fill(path)
    for _ in range(2):
        remove(path)
        scribble(path)
        Opened(path).database.close()
    assert len(list(path.parent.glob("state.db.damaged-*"))) == 2


def test_any_page_that_is_lost_is_noticed_or_harmless(path: Path) -> None:
    """What is found again is never less, whichever page turned to zeros."""
    fill(path, 10)
    before, whole = of(path), path.read_bytes()
    for at in range(0, len(whole), PAGE):
        path.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
        assert of(path) == before, at
        remove(path)
        for each in path.parent.glob("state.db.damaged-*"):
            each.unlink()


def test_damage_under_a_file_that_others_have_open_is_mended_by_the_next_at_the_latest(layout: Layout) -> None:
    fill(layout.store, 200)
    before = of(layout.store)
    with open_engine(layout) as first:
        known(first.database)
        data = bytearray(layout.store.read_bytes())
        data[PAGE * 2 :] = b"\xff" * (len(data) - PAGE * 2)
        layout.store.write_bytes(data)
        with suppress(Refused), open_engine(layout) as second:
            known(second.database)
        assert known(first.database) == before
    assert of(layout.store) == before


def test_a_living_connection_notices_damage_and_goes_on_with_what_is_known(path: Path) -> None:
    fill(path, 200)
    before = of(path)
    opened = Opened(path)
    with closing(opened.database) as store:
        data = bytearray(path.read_bytes())
        data[PAGE * 2 :] = b"\xff" * (len(data) - PAGE * 2)
        path.write_bytes(data)
        store.connection.execute("PRAGMA shrink_memory")
        with pytest.raises(sqlite3.DatabaseError):
            known(store)
        assert known(store) == before
    assert "was damaged" in opened.told[0]


def test_a_living_connection_follows_a_file_that_was_taken_away(path: Path) -> None:
    fill(path)
    before = of(path)
    opened = Opened(path)
    with closing(opened.database) as store:
        remove(path)
        assert known(store) == before
        write_record(store, Record(Key(Kind.CONFIG, "later"), {}, {}, set="shop"))
    assert "was lost" in opened.told[0]
    with closing(Database(path)) as store:
        assert Key(Kind.CONFIG, "later") in read_records(store)


def test_without_its_write_ahead_log_the_newest_is_known_again(path: Path) -> None:
    fill(path)
    with closing(Database(path)) as store:
        write_record(store, Record(WEB, {"a": "newer"}, {}, set="shop"))
        remove_record(store, DB)
        forget(store, DB)
        before, main = known(store), path.read_bytes()
    remove(path)
    path.write_bytes(main)
    opened = Opened(path)
    with closing(opened.database) as store:
        assert known(store) == before
    assert ["newest transactions" in told for told in opened.told] == [True]


def test_numbers_that_clients_remember_do_not_come_again(path: Path) -> None:
    fill(path)
    with closing(Database(path)) as store:
        newest, asked = newest_version(store), asked_version(store)
    remove(path)
    with closing(Opened(path).database) as store:
        assert newest_version(store) > newest and asked_version(store) > asked
        assert read_changes(store, newest) is None


def test_a_copy_that_is_broken_costs_its_object_and_is_told(path: Path) -> None:
    fill(path)
    copy = path.with_name("objects") / "records" / "Container.web-1"
    text = copy.read_bytes()
    copy.write_bytes(text.replace(b'"xxx', b'"xyx'))
    remove(path)
    opened = Opened(path)
    assert set(read_records(opened.database)) == {DB}
    assert "1 of the copies could not be read" in opened.told[0]
    opened.database.close()


def test_without_copies_a_damaged_file_is_begun_anew_and_that_is_told(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 400)
    opened = Opened(path)
    assert "there are no copies" in opened.told[0] and "state.db.damaged-" in opened.told[0]
    assert read_records(opened.database) == {}
    opened.database.close()


def test_a_new_store_says_nothing(path: Path) -> None:
    opened = Opened(path)
    opened.database.close()
    assert opened.told == []


def test_copies_of_a_store_that_had_none_are_made(path: Path) -> None:
    fill(path)
    before = of(path)
    remove_tree(path.with_name("objects"))
    assert of(path) == before
    remove(path)
    assert of(path) == before


def remove_tree(directory: Path) -> None:
    for each in directory.iterdir():
        remove_tree(each) if each.is_dir() else each.unlink()
    directory.rmdir()


def test_copies_are_for_root_alone_and_end_with_what_they_are_of(path: Path) -> None:
    fill(path)
    directory = path.with_name("objects")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in directory.rglob("*") if each.is_file()} == {0o600}
    with closing(Database(path)) as store:
        for key in (WEB, DB):
            remove_record(store, key)
            forget(store, key)
        record_leases(store, {})
        write_standing(store, Topic.STEERING, {"Container/web-1": None})
    assert [str(each.relative_to(directory)) for each in directory.glob("*/*")] == ["pins/all"]


def test_a_transaction_that_is_taken_back_leaves_no_copy(path: Path) -> None:
    fill(path)
    before = of(path)
    with closing(Database(path)) as store, pytest.raises(ZeroDivisionError), store.begin():
        write_record(store, Record(WEB, {"a": "never"}, {}, set="shop"))
        raise ZeroDivisionError
    remove(path)
    assert of(path) == before


def test_a_commit_that_fails_is_not_made_good_by_the_copies(path: Path) -> None:
    fill(path)
    before = of(path)
    with closing(Database(path)) as store:
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        store.connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(RetryLater):
            write_record(store, Record(WEB, {"a": "x" * 100_000}, {}, set="shop"))
    assert of(path) == before


def test_copies_that_cannot_be_written_cost_no_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path)
    with closing(Database(path)) as store:
        with monkeypatch.context() as full:
            full.setattr(copies, "_write_group", refuse)
            write_record(store, Record(WEB, {"a": "during"}, {}, set="shop"))
        write_record(store, Record(DB, {"a": "after"}, {}, set="shop"))
        before = known(store)
    remove(path)
    assert of(path) == before


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["_write_stamp", "_write_group"])
@pytest.mark.parametrize("lost", [False, True])
def test_a_kill_at_any_write_leaves_the_old_state_or_the_new_one(path: Path, step: str, lost: bool) -> None:
    fill(path)
    with closing(Database(path)) as store:
        before = known(store)
    for call in (1, 2):
        end_at(path, step, call)
        if lost:
            remove(path)
        found = of(path)
        after = (found[0], *before[1:])
        assert found in (before, after)
        assert json.dumps(found[0][WEB].fields) in (json.dumps({"a": "x" * 500}), json.dumps({"a": "new"}))  # type: ignore[index]


def end_at(path: Path, step: str, call: int) -> None:
    """A process that is killed before its `call`-th `step` of writing a record."""
    child = os.fork()
    if child == 0:
        calls = iter(range(1, 100))
        real = getattr(copies, step)

        def killed(*arguments: object) -> object:
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        setattr(copies, step, killed)
        write_record(Database(path), Record(WEB, {"a": "new"}, {}, set="shop"))
        os._exit(0)
    os.waitpid(child, 0)


def copy_and_end(connection: sqlite3.Connection, directory: Path) -> bool:
    copies.copy_touched(connection, directory)
    os.kill(os.getpid(), signal.SIGKILL)
    return True


def test_a_kill_between_copy_and_commit_is_made_good_without_a_word(path: Path) -> None:
    fill(path)
    child = os.fork()
    if child == 0:
        database.copy_touched = copy_and_end  # type: ignore[attr-defined]
        write_record(Database(path), Record(WEB, {"a": "new"}, {}, set="shop"))
        os._exit(0)
    os.waitpid(child, 0)
    opened = Opened(path)
    assert read_records(opened.database)[WEB].fields == {"a": "new"}
    assert opened.told == []
    opened.database.close()


def test_many_processes_at_once_find_one_damage_once(path: Path) -> None:
    fill(path, 50)
    before = of(path)
    scribble(path)
    children = []
    for _ in range(6):
        child = os.fork()
        if child == 0:
            os._exit(0 if of(path) == before else 1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 6
    assert len(list(path.parent.glob("state.db.damaged-*Z"))) == 1


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What stores say that nobody listens to."""
    monkeypatch.setattr(database, "say", lambda sentence: None)
    yield
