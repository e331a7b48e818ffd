"""A container's life, from its bundle to its exit record, as the reconciler drives it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from runtime.process import client
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.records import Phase
from tests.process.bundles import specification
from tests.process.conftest import Box

pytestmark = pytest.mark.kernel


@pytest.mark.vm
def test_a_container_runs_and_its_exit_code_is_recorded(box: Box) -> None:
    record, text = box.run(specification("sh", "-c", "echo hello; exit 7"))
    assert (record.exit_code, record.signal, record.oom_killed, record.error) == (7, None, False, "")
    assert record.started_at is not None
    assert record.finished_at is not None
    assert record.started_at <= record.finished_at
    assert text == "hello\n"


def test_phases_only_move_forward(box: Box) -> None:
    box.write("one", specification("sleep", "60"))
    assert client.read_process(box.layout, "one") is None
    made = client.create(box.layout, "one")
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    assert (seen.phase, seen.pid, seen.start_time) == (Phase.CREATED, made.pid, made.start_time)
    client.start(box.layout, "one")
    assert phase(box) is Phase.RUNNING
    client.pause(box.layout, "one")
    assert phase(box) is Phase.PAUSED
    client.resume(box.layout, "one")
    assert phase(box) is Phase.RUNNING
    assert client.stop(box.layout, "one", signal.SIGTERM, 0.05).signal == signal.SIGKILL
    assert phase(box) is Phase.EXITED
    with pytest.raises(NotRunning):
        client.start(box.layout, "one")
    with pytest.raises(NotRunning):
        client.pause(box.layout, "one")


def phase(box: Box) -> Phase:
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    return seen.phase


def test_nothing_runs_before_start(box: Box) -> None:
    box.write("one", specification("touch", "/ran"))
    client.create(box.layout, "one")
    assert not (box.layout.container("one") / "upper/ran").exists()
    client.start(box.layout, "one")
    client.wait(box.layout, "one", 10)
    assert (box.layout.container("one") / "upper/ran").exists()


def test_a_second_start_is_refused(box: Box) -> None:
    box.begin("one", specification("sleep", "60"))
    with pytest.raises(ProcessFailed, match="cannot start: it is running"):
        client.start(box.layout, "one")


def test_stop_sends_the_signal_and_waits(box: Box) -> None:
    box.begin("one", specification("sh", "-c", 'trap "exit 3" TERM; echo up; while :; do sleep 0.02; done'))
    wait_for_output(box, "up")
    record = client.stop(box.layout, "one", signal.SIGTERM, 10)
    assert (record.exit_code, record.signal) == (3, None)
    assert client.stop(box.layout, "one", signal.SIGTERM, 10) == record


def wait_for_output(box: Box, text: str, name: str = "one") -> None:
    from runtime.process.logs import read_logs

    for line in read_logs(box.layout.container_log(name), follow=True):
        if text in line.text:
            return
    pytest.fail(f"{name} ended without writing {text!r}")


@pytest.mark.vm
def test_stop_kills_the_whole_tree_after_the_grace(box: Box) -> None:
    script = 'trap "" TERM; (trap "" TERM; sleep 61) & echo up; sleep 62'
    box.begin("one", specification("sh", "-c", script))
    wait_for_output(box, "up")
    record = client.stop(box.layout, "one", signal.SIGTERM, 0.2)
    assert (record.exit_code, record.signal, record.oom_killed) == (137, signal.SIGKILL, False)


def test_a_created_container_is_stopped_without_waiting_for_the_grace(box: Box) -> None:
    box.write("one", specification("sleep", "60"))
    client.create(box.layout, "one")
    record = client.stop(box.layout, "one", signal.SIGTERM, 30)
    assert record.signal == signal.SIGKILL
    assert record.started_at is None


@pytest.mark.vm
def test_a_paused_container_can_be_stopped(box: Box) -> None:
    box.begin("one", specification("sleep", "60"))
    client.pause(box.layout, "one")
    assert client.stop(box.layout, "one", signal.SIGKILL, 10).signal == signal.SIGKILL


def test_a_signal_reaches_init(box: Box) -> None:
    box.begin("one", specification("sh", "-c", 'trap "echo got; exit 0" USR1; echo up; while :; do sleep 0.02; done'))
    wait_for_output(box, "up")
    assert client.kill(box.layout, "one", signal.SIGUSR1)
    assert client.wait(box.layout, "one", 10).exit_code == 0
    assert box.output("one") == "up\ngot\n"
    assert not client.kill(box.layout, "one", signal.SIGUSR1)


@pytest.mark.vm
def test_a_signal_to_the_whole_tree_reaches_children(box: Box) -> None:
    script = '(trap "echo child; exit" USR1; echo up; while :; do sleep 0.02; done) & trap "" USR1; wait; echo over'
    box.begin("one", specification("sh", "-c", script))
    wait_for_output(box, "up")
    client.kill(box.layout, "one", signal.SIGUSR1, whole_tree=True)
    client.wait(box.layout, "one", 10)
    lines = box.output("one").splitlines()
    assert lines[0] == "up"
    assert {"child", "over"} < set(lines)


def test_waiting_has_a_timeout(box: Box) -> None:
    box.begin("one", specification("sleep", "60"))
    with pytest.raises(TimeoutError):
        client.wait(box.layout, "one", 0.05)


def test_deleting_a_running_container_needs_force(box: Box) -> None:
    box.begin("one", specification("sleep", "60"))
    with pytest.raises(NotRunning, match="cannot delete one: it is running"):
        client.delete(box.layout, "one")
    client.delete(box.layout, "one", force=True)
    client.delete(box.layout, "one", force=True)
    assert not box.layout.live("one").exists()


def test_a_name_can_live_again(box: Box) -> None:
    for code in (3, 4):
        record, _ = box.run(specification("sh", "-c", f"exit {code}"))
        assert record.exit_code == code


def test_a_process_that_is_not_there_is_nothing(box: Box) -> None:
    assert client.read_process(box.layout, "ghost") is None
    assert not client.kill(box.layout, "ghost", signal.SIGTERM)
    client.delete(box.layout, "ghost")
    with pytest.raises(NotRunning):
        client.wait(box.layout, "ghost", 1)
    with pytest.raises(NotRunning):
        client.start(box.layout, "ghost")


def test_the_exit_record_outlives_the_live_state(box: Box) -> None:
    record, _ = box.run(specification("sh", "-c", "exit 5"))
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    assert (seen.phase, seen.exit) == (Phase.EXITED, record)


@pytest.mark.vm
def test_a_hog_of_memory_is_told_from_other_kills(box: Box) -> None:
    spec = specification("sh", "-c", "tail /dev/zero")
    spec["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    box.begin("one", spec)
    record = client.wait(box.layout, "one", 60)
    assert record.oom_killed
    assert record.exit_code == 137


@pytest.mark.vm
def test_a_fork_bomb_stays_inside_its_limit(box: Box) -> None:
    spec = specification("sh", "-c", "f() { f | f & }; f; sleep 0.3; echo end")
    spec["linux"]["resources"]["pids"] = {"limit": 24}
    box.begin("one", spec)
    record = client.wait(box.layout, "one", 30)
    assert record.exit_code is not None
    client.delete(box.layout, "one")


def test_a_mount_that_fails_after_early_creation_is_told_of_at_the_latest_by_start(box: Box) -> None:
    spec = specification("true")
    spec["mounts"].append({"destination": "/x", "type": "tmpfs", "options": ["nonsense=1"]})
    box.write("one", spec)
    with pytest.raises(ProcessFailed, match="nonsense"):
        create_early_and_start(box)


def create_early_and_start(box: Box) -> None:
    client.create(box.layout, "one", early=True)
    client.start(box.layout, "one")


def test_early_creation_starts_like_any_other(box: Box) -> None:
    box.write("one", specification("sh", "-c", "exit 9"))
    made = client.create(box.layout, "one", early=True)
    assert Path(f"/proc/{made.pid}/ns/net").exists()
    client.start(box.layout, "one")
    assert client.wait(box.layout, "one", 10).exit_code == 9
