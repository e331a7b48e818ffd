"""Two commands at once, one that is killed, a store that cannot be used: what each of them says, and what is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.engine import open_engine
from reconciler.lock import engine_lock
from reconciler.store.events import read_events
from runtime.process import client
from tests.cli.engine import Engine
from tests.cli.test_logs import until

pytestmark = pytest.mark.kernel

JOB = """\
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: NAME}
spec: {image: busybox, command: [sleep, "100000"], network_mode: none, stop_grace_period: 0s}
"""
GATE = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: gate}
spec: {image: busybox, command: [sh, -c, "until [ -e /gate/open ]; do sleep 0.1; done"], network_mode: none,
  volumes: ["DIRECTORY:/gate"]}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: behind}
spec: {image: busybox, command: [sleep, "100000"], network_mode: none, stop_grace_period: 0s,
  depends_on: {gate: {condition: service_completed_successfully}}}
"""


@pytest.fixture
def gated(image_only: Engine) -> Iterator[Engine]:
    """`gate.yaml` keeps its apply waiting until somebody makes `gate/open`."""
    gate = image_only.base / "gate"
    gate.mkdir()
    try:
        image_only.write("gate.yaml", GATE.replace("DIRECTORY", str(gate)) + JOB.replace("NAME", "first"))
        yield image_only
    finally:
        (gate / "open").touch()
        for name in ("first", "second"):
            image_only.run("delete", "--set", name)
        (gate / "open").unlink()
        gate.rmdir()


def test_a_second_apply_waits_for_the_first_and_both_converge(gated: Engine) -> None:
    gated.write("second.yaml", JOB.replace("NAME", "second"))
    first = gated.start("apply", "--set", "first", "gate.yaml")
    until(lambda: "+ Container/first create" in first.so_far().out)
    second = gated.start("apply", "--set", "second", "second.yaml")
    with pytest.raises(TimeoutError):
        client_of_second_appears(gated)
    assert second.process.poll() is None, "it waits"
    (gated.base / "gate" / "open").touch()
    assert (first.wait().code, second.wait().code) == (0, 0)
    for name, manifests in (("first", "gate.yaml"), ("second", "second.yaml")):
        assert gated.run("diff", "--set", name, manifests).code == 0


def client_of_second_appears(engine: Engine) -> None:
    """For as long as a second apply would take that does not wait."""
    try:
        until(lambda: client.read_process(engine.layout, "second") is not None, 2)
    except AssertionError:
        raise TimeoutError from None


def test_a_second_apply_that_may_not_wait_says_who_holds_the_engine(gated: Engine) -> None:
    gated.write("second.yaml", JOB.replace("NAME", "second"))
    first = gated.start("apply", "--set", "first", "gate.yaml")
    until(lambda: "+ Container/first create" in first.so_far().out)
    said = gated.run("apply", "--set", "second", "--lock-timeout", "0s", "second.yaml")
    assert said.code == 2
    assert f"another trimtab holds the engine: process {first.process.pid} (" in said.err
    assert "--set first gate.yaml)" in said.err and "give --lock-timeout" in said.err
    assert client.read_process(gated.layout, "second") is None
    (gated.base / "gate" / "open").touch()
    assert first.wait().code == 0
    gated.ok("apply", "--set", "second", "second.yaml")


def test_two_applies_of_the_same_manifests_do_the_work_once(gated: Engine) -> None:
    gated.write("second.yaml", JOB.replace("NAME", "second"))
    both = [gated.start("apply", "--set", "second", "second.yaml") for _ in range(2)]
    said = [running.wait() for running in both]
    assert [each.code for each in said] == [0, 0]
    assert sorted("Nothing to do" in each.out for each in said) == [False, True]


def test_what_an_apply_did_before_it_was_killed_is_among_the_events(gated: Engine) -> None:
    before = happened(gated)
    first = gated.start("apply", "--set", "first", "gate.yaml")
    until(lambda: "+ Container/first create" in first.so_far().out)
    first.process.kill()
    first.wait()
    assert happened(gated)[len(before) :] == ["Created: does not exist"]
    (gated.base / "gate" / "open").touch()
    gated.ok("apply", "--set", "first", "gate.yaml")
    assert happened(gated)[len(before) :] == ["Created: does not exist"]


def happened(engine: Engine) -> list[str]:
    """To the container `first`, oldest first."""
    with open_engine(engine.layout) as opened:
        return [f"{event.reason}: {event.message}" for event in read_events(opened.database, "Container/first")]


def spoil(path: Path, how: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if how == "newer":
            connection.execute("PRAGMA user_version=1000")
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    if how == "no database":
        path.write_bytes(b"\x00garbage" * 2048)
    elif how == "damaged":
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def test_a_store_of_a_newer_trimtab_is_told_plainly_and_nothing_is_touched(gated: Engine) -> None:
    gated.write("second.yaml", JOB.replace("NAME", "second"))
    gated.ok("apply", "--set", "second", "second.yaml")
    before, store = client.read_process(gated.layout, "second"), gated.layout.store
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    good = store.read_bytes()
    spoil(store, "newer")
    spoiled = store.read_bytes()
    try:
        for arguments in (("apply", "--set", "second", "second.yaml"), ("get",)):
            said = gated.run(*arguments)
            assert said.code == 2, said
            assert "of a newer trimtab (format 1000;" in said.err and "nothing was touched" in said.err, said
            assert str(store) in said.err and "Traceback" not in said.err
        assert store.read_bytes() == spoiled
        assert client.read_process(gated.layout, "second") == before
    finally:
        for beside in ("-wal", "-shm"):
            store.with_name(store.name + beside).unlink(missing_ok=True)
        store.write_bytes(good)
    assert "Nothing to do" in gated.ok("apply", "--set", "second", "second.yaml").out


@pytest.mark.parametrize("how", ["no database", "damaged"])
def test_a_damaged_store_is_kept_aside_told_plainly_and_begun_anew(gated: Engine, how: str) -> None:
    gated.write("second.yaml", JOB.replace("NAME", "second"))
    gated.ok("apply", "--set", "second", "second.yaml")
    before, store = client.read_process(gated.layout, "second"), gated.layout.store
    spoil(store, how)
    spoiled = store.read_bytes()
    said = gated.ok("apply", "--set", "second", "second.yaml")
    assert "Nothing to do" in said.out
    assert "warning: The state file was damaged" in said.err and "Traceback" not in said.err
    (aside,) = (path for path in store.parent.glob("state.db.damaged-*Z") if str(path) in said.err)
    assert aside.read_bytes() == spoiled
    assert client.read_process(gated.layout, "second") == before
    assert gated.ok("get").err == ""


def test_the_lock_is_given_back_by_a_process_that_was_killed(gated: Engine) -> None:
    first = gated.start("apply", "--set", "first", "gate.yaml")
    until(lambda: "+ Container/first create" in first.so_far().out)
    first.process.kill()
    first.wait()
    with engine_lock(gated.layout.lock):
        pass
