"""Everybody in a cgroup: listed, frozen, killed, counted; bombs and hogs stay inside."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.kernel import cgroup, namespaces
from runtime.kernel.cgroup.directories import main_directory
from runtime.kernel.cgroup.files import write_file
from tests.kernel.cgroup_fixtures import ONLY_V1, ONLY_V2, leftovers, running

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

MIB = 1 << 20
BUSY = "while :; do :; done"


def until(done: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "condition never came true"
        time.sleep(0.002)


def ticks(pid: int) -> int:
    """Processor time a process used, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_process_and_its_children_are_listed(path: str) -> None:
    cgroup.create(path, {})
    with running(path, "/bin/sh", "-c", "sleep 60 & sleep 60") as child:
        until(lambda: len(cgroup.processes(path)) >= 2)
        assert child.pid in cgroup.processes(path)
    assert cgroup.processes(path) == []


def test_processes_below_are_listed_and_killed_too(path: str) -> None:
    cgroup.create(path, {})
    below = Path(main_directory(path).path, "below")
    with running(path, "sleep", "60") as child:
        below.mkdir()
        write_file(str(below / "cgroup.procs"), str(child.pid))
        assert cgroup.processes(path) == [child.pid]
        cgroup.kill(path)
        assert child.wait(10) == -signal.SIGKILL
    cgroup.remove(path)
    assert leftovers(path) == []


def test_a_stranger_cannot_be_added_to_nothing(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        cgroup.add(path, os.getpid())


def test_a_process_that_is_gone_cannot_be_added(path: str) -> None:
    cgroup.create(path, {})
    with pytest.raises(ProcessLookupError):
        cgroup.add(path, 2**22 - 1)


def test_frozen_processes_stand_still_until_thawed(path: str) -> None:
    cgroup.create(path, {})
    with running(path, "/bin/sh", "-c", BUSY) as child:
        until(lambda: ticks(child.pid) > 0)
        cgroup.freeze(path)
        assert cgroup.is_frozen(path)
        before = ticks(child.pid)
        time.sleep(0.1)  # the time in which a running one would have used several ticks
        assert ticks(child.pid) == before
        cgroup.thaw(path)
        assert not cgroup.is_frozen(path)
        until(lambda: ticks(child.pid) > before)


def test_freezing_nobody_and_thawing_the_thawed_is_no_error(path: str) -> None:
    cgroup.create(path, {})
    cgroup.thaw(path)
    cgroup.freeze(path)
    cgroup.freeze(path)
    assert cgroup.is_frozen(path)
    cgroup.thaw(path)
    assert not cgroup.is_frozen(path)


def test_frozen_processes_are_killed(path: str) -> None:
    cgroup.create(path, {})
    with running(path, "sleep", "60") as child:
        cgroup.freeze(path)
        cgroup.kill(path)
        assert child.wait(10) == -signal.SIGKILL


def test_killing_nobody_or_nothing_is_no_error(path: str) -> None:
    cgroup.kill(path)
    cgroup.create(path, {})
    cgroup.kill(path)


def test_removing_what_somebody_is_in_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.kernel.cgroup.tree.BUSY_SECONDS", 0.05)
    cgroup.create(path, {})
    with running(path, "sleep", "60") as child:
        with pytest.raises(OSError, match="busy"):
            cgroup.remove(path)
        assert child.poll() is None


def test_removing_waits_for_those_who_are_leaving(path: str) -> None:
    cgroup.create(path, {})
    with running(path, "sleep", "60") as child:
        child.kill()
        cgroup.remove(path)
    assert leftovers(path) == []


def test_a_fork_bomb_stays_inside_its_limit_and_dies_at_once(path: str) -> None:
    cgroup.create(path, {"pids": {"limit": 30}})
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 60"
    with running(path, "/bin/sh", "-c", bomb):
        until(lambda: (cgroup.read_usage(path).tasks or 0) >= 25)
        assert (cgroup.read_usage(path).tasks or 0) <= 30
        cgroup.kill(path)
        assert cgroup.processes(path) == []


def test_a_memory_hog_is_killed_and_counted(path: str) -> None:
    cgroup.create(path, {"memory": {"limit": 24 * MIB, "swap": 24 * MIB}})
    assert cgroup.oom_kills(path) == 0
    with running(path, "python3", "-S", "-c", "x = bytearray(300 << 20); print(len(x))") as child:
        assert child.wait(30) == -signal.SIGKILL
    assert cgroup.oom_kills(path) == 1
    assert (cgroup.read_usage(path).memory or 0) <= 24 * MIB


@ONLY_V1
def test_a_cgroup_of_v1_tells_when_its_memory_runs_out(path: str) -> None:
    cgroup.create(path, {"memory": {"limit": 24 * MIB, "swap": 24 * MIB}})
    notices = cgroup.memory_notices(path)
    assert notices is not None
    try:
        assert select.select([notices], [], [], 0)[0] == []
        with running(path, "python3", "-S", "-c", "x = bytearray(300 << 20); print(len(x))") as child:
            assert select.select([notices], [], [], 30)[0] == [notices]
            assert child.wait(30) == -signal.SIGKILL
    finally:
        os.close(notices)


def test_nothing_tells_of_a_cgroup_that_is_not_there() -> None:
    assert cgroup.memory_notices("/trimtab-test-none/box") is None


def test_what_fits_its_memory_is_not_killed(path: str) -> None:
    cgroup.create(path, {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}})
    with running(path, "python3", "-S", "-c", "x = bytearray(8 << 20); print(len(x))") as child:
        assert child.wait(30) == 0
    assert cgroup.oom_kills(path) == 0


def test_out_of_memory_is_not_counted_where_nothing_is() -> None:
    assert cgroup.oom_kills("/trimtab-test-none/box") == 0


def test_a_quota_holds_back_a_busy_process(path: str) -> None:
    cgroup.create(path, {"cpu": {"quota": 10_000, "period": 100_000}})
    with running(path, "/bin/sh", "-c", BUSY) as child:
        until(lambda: ticks(child.pid) >= 2)
        began, before = time.monotonic(), cgroup.read_usage(path).cpu or 0
        time.sleep(0.5)  # five periods
        share = ((cgroup.read_usage(path).cpu or 0) - before) / 1e9 / (time.monotonic() - began)
    assert share < 0.3


def test_a_v2_directory_can_be_opened_for_clone3(path: str) -> None:
    if cgroup.detect() is not cgroup.Version.V2:
        cgroup.create(path, {})
        with pytest.raises(cgroup.MissingController):
            cgroup.open_directory(path)
        return
    cgroup.create(path, {})
    fd = cgroup.open_directory(path)
    try:
        assert str(Path(f"/proc/self/fd/{fd}").readlink()).endswith(path)
    finally:
        os.close(fd)


@ONLY_V2
def test_a_process_is_born_in_a_v2_cgroup(path: str) -> None:
    cgroup.create(path, {})
    fd = cgroup.open_directory(path)
    try:
        pid, pidfd = namespaces.clone3(0, fd)
        if pid == 0:
            signal.pause()
        try:
            assert cgroup.processes(path) == [pid]
        finally:
            cgroup.kill(path)
            os.waitpid(pid, 0)
            os.close(pidfd)
    finally:
        os.close(fd)


@ONLY_V2
def test_processes_in_a_delegated_parent_make_room_for_controllers(path: str) -> None:
    parent = Path(main_directory(path.rsplit("/", 1)[0]).path)
    parent.mkdir()
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            write_file(str(parent / "cgroup.procs"), str(child.pid))
            with pytest.raises(cgroup.HoldsProcesses, match="Delegate=yes"):
                cgroup.create(path, {"pids": {"limit": 5}})
            assert leftovers(path) == []
            os.setxattr(parent, "trusted.delegate", b"1")
            cgroup.create(path, {"pids": {"limit": 5}})
            assert cgroup.read_limits(path)["pids"] == {"limit": 5}
            assert (parent / "processes/cgroup.procs").read_text() == f"{child.pid}\n"
        finally:
            child.kill()
            child.wait()
            cgroup.remove(path)
            cgroup.remove(f"{path.rsplit('/', 1)[0]}/processes")


def can_open(path: str, device: str) -> bool:
    with running(path, "/bin/sh", "-c", f": < {device}") as child:
        return child.wait(10) == 0


def test_a_device_can_be_opened_while_its_rule_stands(path: str) -> None:
    kernel_log = {"type": "c", "major": 1, "minor": 11, "access": "r"}
    cgroup.create(path, {"devices": [{"allow": False, "access": "rwm"}]})
    assert can_open(path, "/dev/null")
    assert not can_open(path, "/dev/kmsg")
    cgroup.write_limits(path, {"devices": [{"allow": True, **kernel_log}]})
    assert can_open(path, "/dev/kmsg")
    cgroup.write_limits(path, {"devices": []})
    assert not can_open(path, "/dev/kmsg")
    assert can_open(path, "/dev/null")


def test_a_privileged_cgroup_can_open_every_device(path: str) -> None:
    everything = {"devices": [{"allow": True, "access": "rwm"}]}
    cgroup.create(path, everything)
    assert can_open(path, "/dev/kmsg")
    assert cgroup.differences(path, everything) == ()


@ONLY_V2
def test_a_newcomer_joins_a_container_that_made_cgroups_of_its_own(path: str) -> None:
    """v2 forbids processes beside children with controllers."""
    cgroup.create(path, {})
    directory = Path(main_directory(path).path)
    with running(path, "sleep", "60") as init, running(path, "sleep", "60") as newcomer:
        inner = directory / "init.scope"
        inner.mkdir()
        for pid in cgroup.processes(path):
            write_file(str(inner / "cgroup.procs"), str(pid))
        write_file(str(directory / "cgroup.subtree_control"), "+memory")
        with pytest.raises(OSError, match="busy"):
            cgroup.add(path, newcomer.pid)
        cgroup.add(path, newcomer.pid, beside=init.pid)
        assert set(cgroup.processes(path)) == {init.pid, newcomer.pid}


@ONLY_V2
def test_a_delegated_cgroup_belongs_to_the_containers_root_but_its_limits_do_not(path: str) -> None:
    cgroup.create(path, {})
    cgroup.delegate(path, 70_000, 70_000)
    directory = Path(main_directory(path).path)
    assert directory.stat().st_uid == (directory / "cgroup.procs").stat().st_uid == 70_000
    assert (directory / "memory.max").stat().st_uid == 0
