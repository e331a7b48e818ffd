"""What somebody, or a crash, takes away beneath a running container is given back by one apply, for good."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.actions import Action, Change, Effect, Verb
from reconciler.engine import open_engine
from reconciler.losses import DATA_LOST, loses_data
from reconciler.store.events import Event, read_events, record_events
from reconciler.store.records import read_records
from runtime.kernel.process import send_signal
from runtime.process import client
from runtime.process.paths import ContainerPaths
from runtime.process.records import Created, Phase
from schemas.errors import RetryLater
from schemas.names import Key, Kind
from tests.machine.machine import Machine, told, until
from tests.machine.probe import container, document, refusal, run, workload
from tests.machine.test_crash import killed_apply
from tests.machine.test_drift import drifts

pytestmark = pytest.mark.kernel

NETWORK = document("Network", "front")
VOLUME = document("Volume", "data")
DB = container("db", volumes=["data:/data"], networks=["front"], ports=["127.0.0.1:15432:5432"], stop_grace_period=0)


@pytest.fixture
def shop(machine: Machine) -> Machine:
    machine.converge(text(machine))
    return machine


def text(machine: Machine) -> str:
    return machine.image + NETWORK + VOLUME + DB


def test_a_removed_live_directory_is_made_again_and_its_container_runs_however_often(shop: Machine) -> None:
    for _ in range(6):
        before = shop.process("db")
        shutil.rmtree(shop.layout.live("db"))
        shop.converge(text(shop))
        after = shop.process("db")
        assert after.phase is Phase.RUNNING and after.pid != before.pid
        assert client.is_attended(shop.layout, after)
        assert run(shop, "db", "/bin/echo", "alive") == "alive\n"
        until(lambda gone=before.monitor_pid: not Path(f"/proc/{gone}").exists())  # type: ignore[misc]
        assert client.is_attended(shop.layout, shop.process("db")), "the old monitor took the new one's socket"


def test_a_volume_whose_data_is_gone_comes_back_empty_and_says_so(shop: Machine) -> None:
    shutil.rmtree(shop.layout.volumes / "data")
    plan = shop.diff(text(shop))
    assert [note.describe() for note in plan.notes] == [f"Volume/data {DATA_LOST}"]
    shop.converge(text(shop))
    with open_engine(shop.layout) as engine:
        events = [(event.type, event.reason, event.message) for event in read_events(engine.database, "Volume/data")]
    assert ("Warning", "DataLost", DATA_LOST) in events
    assert shop.diff(text(shop)).notes == () and shop.process("db").phase is Phase.RUNNING


def test_a_volume_that_never_was_has_lost_nothing(shop: Machine) -> None:
    action = Action(Verb.UPDATE, Key(Kind.VOLUME, "new"), "", (Change(("data",), None, "present", Effect.LIVE),))
    with open_engine(shop.layout) as engine:
        record_events(engine.database, [Event(0.0, "Volume/new", "Warning", "Failed", "no quota")])
        assert not loses_data(engine.database, action)
        record_events(engine.database, [Event(0.0, "Volume/new", "Normal", "Created", "does not exist")])
        assert loses_data(engine.database, action)


def test_a_removed_socket_of_a_monitor_shows_and_is_made_again(shop: Machine) -> None:
    Path(ContainerPaths.of(shop.layout, "db").socket).unlink()
    plan = shop.diff(text(shop))
    assert any("monitor: (none) → present" in line for line in drifts(plan)), told(plan)
    shop.converge(text(shop))
    assert run(shop, "db", "/bin/echo", "alive") == "alive\n"


def test_a_successor_waits_until_its_predecessor_has_written_its_last_words(shop: Machine) -> None:
    monitor = shop.process("db").monitor_pid
    os.kill(monitor, signal.SIGSTOP)
    shutil.rmtree(shop.layout.live("db"))
    later = threading.Timer(0.5, os.kill, (monitor, signal.SIGCONT))
    later.start()
    try:
        shop.converge(text(shop))
    finally:
        later.join()
    assert run(shop, "db", "/bin/echo", "alive") == "alive\n"


def test_a_volume_whose_directory_was_removed_is_drift_and_its_container_gets_the_new_one(shop: Machine) -> None:
    data = shop.layout.volumes / "data" / "_data"
    shutil.rmtree(data)
    plan = shop.diff(text(shop))
    assert {"Volume/data", "Container/db"} == {str(action.key) for action in plan.effective}, told(plan)
    assert "data: (none) → present" in drifts(plan)
    shop.converge(text(shop))
    shop.inside("db", "/bin/sh", "-c", "echo new > /data/file")
    assert (data / "file").read_text() == "new\n"
    shop.converge(text(shop).replace("/data", "/pages"))


def test_a_directory_that_was_made_again_by_hand_is_mounted_anew(shop: Machine) -> None:
    """As after an apply that was killed once the volume was there again."""
    data = shop.layout.volumes / "data" / "_data"
    shutil.rmtree(data)
    data.mkdir()
    assert 'mounts["/data"]: (none) → mounted' in drifts(shop.diff(text(shop)))
    shop.converge(text(shop))
    shop.inside("db", "/bin/sh", "-c", "echo new > /data/file")
    assert (data / "file").read_text() == "new\n"


def test_the_signal_that_ended_a_program_below_an_init_of_ours_is_told(shop: Machine) -> None:
    os.kill(workload(shop, "db"), signal.SIGUSR1)
    ended = client.wait(shop.layout, "db", 10)
    assert (ended.exit_code, ended.signal, ended.oom_killed) == (128 + signal.SIGUSR1, signal.SIGUSR1, False)
    assert f"process: killed by signal {signal.SIGUSR1:d} → running" in drifts(shop.diff(text(shop)))


def test_a_program_that_only_says_so_was_killed_by_no_signal(machine: Machine) -> None:
    machine.apply(machine.image + container("liar", command=["sh", "-c", "exit 137"], network_mode="none"))
    ended = client.wait(machine.layout, "liar", 10)
    assert (ended.exit_code, ended.signal) == (137, None)


def test_a_replica_that_is_started_again_stays_as_old_as_it_is(machine: Machine) -> None:
    service = document("Service", "web", image="busybox", network_mode="none", stop_grace_period=0)
    machine.converge(machine.image + service)
    before = made_at(machine, "web-1")
    process = machine.process("web-1")
    send_signal(process.pid, process.start_time, signal.SIGKILL)
    client.wait(machine.layout, "web-1", 10)
    machine.converge(machine.image + service)
    assert machine.process("web-1").pid != process.pid
    assert made_at(machine, "web-1") == before


def made_at(machine: Machine, name: str) -> float:
    with open_engine(machine.layout) as engine:
        return read_records(engine.database)[Key(Kind.CONTAINER, name)].made_at


PART = container(
    "db",
    volumes=[{"type": "volume", "source": "data", "target": "/part", "volume": {"subpath": "part/deep"}}],
    network_mode="none",
    stop_grace_period=0,
)


def test_a_part_of_a_volume_is_mounted_and_nothing_beside_it(machine: Machine) -> None:
    machine.converge(machine.image + VOLUME)
    deep = machine.layout.volumes / "data" / "_data" / "part" / "deep"
    deep.mkdir(parents=True)
    (deep / "file").write_text("inside\n")
    machine.converge(machine.image + VOLUME + PART)
    assert run(machine, "db", "cat", "/part/file") == "inside\n"
    assert run(machine, "db", "ls", "-A", "/part") == "file\n"


def test_a_part_that_turns_into_a_way_out_before_it_is_mounted_is_not_mounted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another container that writes to the volume may swap it at any moment."""
    machine.converge(machine.image + VOLUME)
    part = machine.layout.volumes / "data" / "_data" / "part"
    (part / "deep").mkdir(parents=True)
    (tmp_path / "deep").mkdir()
    create = client.create

    def swapped(*arguments: Any, **named: Any) -> Created:
        part.rename(part.with_name("moved"))
        part.symlink_to(tmp_path)
        return create(*arguments, **named)

    monkeypatch.setattr(client, "create", swapped)
    said = refusal(machine, machine.image + VOLUME + PART)
    assert "mount source" in said and "cross-device" in said, said
    assert part.is_symlink(), "the race was not run"


IMAGE_TALKS = document("Container", "talk", image="busybox", network_mode="none", stop_grace_period=0)


def test_a_changed_image_reaches_its_container_though_the_apply_was_killed_between_the_two(machine: Machine) -> None:
    machine.converge(machine.image + IMAGE_TALKS)
    first = machine.process("talk")
    machine.image = machine.image.replace("PATH: /bin", 'PATH: /bin, SAYS: "new"')
    boundary = 0
    while killed_apply(machine, IMAGE_TALKS, boundary) != 0:
        machine.converge(machine.image + IMAGE_TALKS)
        assert run(machine, "talk", "sh", "-c", "echo $SAYS") == f"new{boundary or ''}\n"
        boundary += 1
        machine.image = machine.image.replace(f'SAYS: "new{boundary - 1 or ""}"', f'SAYS: "new{boundary}"')
    assert boundary >= 4, "image, deletion, creation, and what is before and after each"
    assert machine.process("talk").pid != first.pid


def test_an_image_that_was_recorded_and_not_brought_is_brought_by_the_next_apply(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.converge(machine.image + IMAGE_TALKS)
    machine.image = machine.image.replace("PATH: /bin", "PATH: /bin, SAYS: new")
    with monkeypatch.context() as broken:
        broken.setattr("reconciler.perform.images.ensure_image", not_today)
        assert [str(o.action.key) for o in machine.apply(machine.image + IMAGE_TALKS) if o.error] == ["Image/busybox"]
    assert "source: changed → unchanged" in drifts(machine.diff(machine.image + IMAGE_TALKS))
    machine.converge(machine.image + IMAGE_TALKS)
    assert run(machine, "talk", "sh", "-c", "echo $SAYS") == "new\n"


def not_today(*arguments: Any) -> None:
    raise RetryLater("the registry does not answer")
