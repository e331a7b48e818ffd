"""Limits of a container: in the cgroup's files when it starts, changed while it runs, refused where they cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel import cgroup
from tests.conftest import missing
from tests.machine.machine import Machine, told
from tests.machine.probe import container, own_machine, refusal, run, workload

pytestmark = pytest.mark.kernel

DISK = "/dev/loop0"

FIRST: dict[str, dict[str, Any]] = {
    "memory": {"mem_limit": "32m", "memswap_limit": "48m", "mem_reservation": "16m"},
    "memory-alone": {"mem_limit": "32m"},
    "unlimited-swap": {"mem_limit": "32m", "memswap_limit": -1},
    "cpus": {"cpus": 0.5},
    "quota": {"cpu_quota": 20_000, "cpu_period": 50_000},
    "shares": {"cpu_shares": 512},
    "pinned": {"cpuset": "0"},
    "tasks": {"pids_limit": 50},
    "no-tasks-limit": {"pids_limit": -1},
    "disk": {"blkio_config": {"device_read_bps": [{"path": DISK, "rate": "1m"}]}},
    "score": {"oom_score_adj": 300},
}

THEN: dict[str, dict[str, Any]] = {
    "memory": {"mem_limit": "64m", "memswap_limit": "64m", "mem_reservation": "20m"},
    "memory-alone": {},
    "unlimited-swap": {"mem_limit": "16m", "memswap_limit": "20m"},
    "cpus": {"cpus": 1.5},
    "quota": {"cpu_quota": 90_000, "cpu_period": 100_000},
    "shares": {},
    "pinned": {"cpuset": "0,1"},
    "tasks": {"pids_limit": 70},
    "no-tasks-limit": {},
    "disk": {"blkio_config": {"device_write_iops": [{"path": DISK, "rate": 30}]}},
    "score": {"oom_score_adj": 500},
}

MIB = 1 << 20


@pytest.fixture(scope="module")
def machine(busybox_tree: Path) -> Iterator[Machine]:
    if not Path(DISK).is_block_device():
        missing(f"a block device {DISK}")
    if (os.cpu_count() or 1) < 2:
        missing("two processors")
    with own_machine(busybox_tree) as made:
        made.converge(made.image + containers(FIRST))
        yield made


def containers(limits: dict[str, dict[str, Any]]) -> str:
    return "".join(container(name, **spec) for name, spec in limits.items())


def limits(machine: Machine, name: str) -> dict[str, Any]:
    return cgroup.read_limits(machine.layout.cgroup(name))


def test_memory_and_swap_are_limited(machine: Machine) -> None:
    found = limits(machine, "memory")["memory"]
    assert (found["limit"], found["swap"], found["reservation"]) == (32 * MIB, 48 * MIB, 16 * MIB)


def test_swap_is_as_much_as_memory_unless_it_is_said(machine: Machine) -> None:
    found = limits(machine, "memory-alone")["memory"]
    assert (found["limit"], found["swap"]) == (32 * MIB, 64 * MIB)
    assert limits(machine, "unlimited-swap")["memory"]["swap"] == -1


def test_processor_time_is_limited(machine: Machine) -> None:
    assert share(machine, "cpus") == 0.5
    found = limits(machine, "quota")["cpu"]
    assert (found["quota"], found["period"]) == (20_000, 50_000)
    # v2 counts weights more coarsely
    assert limits(machine, "shares")["cpu"]["shares"] == pytest.approx(512, rel=0.02)


def share(machine: Machine, name: str) -> float:
    found = limits(machine, name)["cpu"]
    return float(found["quota"] / found["period"])


def test_processors_are_pinned(machine: Machine) -> None:
    assert run(machine, "pinned", "grep", "Cpus_allowed_list", "/proc/self/status").split()[1] == "0"


def test_the_number_of_tasks_is_limited_unless_it_is_said(machine: Machine) -> None:
    assert limits(machine, "tasks")["pids"]["limit"] == 50
    assert limits(machine, "cpus")["pids"]["limit"] == 4096
    assert limits(machine, "no-tasks-limit")["pids"]["limit"] == -1


def test_block_devices_are_limited_by_their_numbers(machine: Machine) -> None:
    number = Path(DISK).stat().st_rdev
    (entry,) = limits(machine, "disk")["blockIO"]["throttleReadBpsDevice"]
    assert entry == {"major": os.major(number), "minor": os.minor(number), "rate": MIB}


def test_the_out_of_memory_score_is_set(machine: Machine) -> None:
    assert Path(f"/proc/{workload(machine, 'score')}/oom_score_adj").read_text() == "300\n"


def test_a_score_edited_by_hand_is_drift_and_set_back(machine: Machine) -> None:
    text = machine.image + container("score", **FIRST["score"])
    for pid in cgroup.processes(machine.layout.cgroup("score")):
        Path(f"/proc/{pid}/oom_score_adj").write_text("400")
    plan = machine.diff(text)
    assert any("drift: oom_score_adj: 400 → 300" in line for line in told(plan)), told(plan)
    machine.converge(text)
    assert Path(f"/proc/{workload(machine, 'score')}/oom_score_adj").read_text() == "300\n"


def test_a_memory_hog_is_killed_in_its_container(machine: Machine) -> None:
    from runtime.process import client

    hog = container("hog", init=False, mem_limit="16m", memswap_limit="16m", command=["tail", "/dev/zero"])
    machine.apply(machine.image + hog)
    ended = client.wait(machine.layout, "hog", 30)
    assert (ended.oom_killed, ended.signal) == (True, 9)
    plan = machine.diff(machine.image + hog)
    assert "killed: out of memory → running" in " ".join(told(plan))


def test_what_this_machine_cannot_limit_is_refused_with_the_field(machine: Machine) -> None:
    said = refusal(machine, machine.image + container("far", cpuset="4000"))
    assert "Container/far spec.cpuset" in said, said


def test_a_path_that_is_no_disk_is_refused_before_anything_is_touched(machine: Machine) -> None:
    wish = {"device_read_bps": [{"path": "/dev/null", "rate": "1m"}]}
    said = refusal(machine, machine.image + container("flat", blkio_config=wish))
    assert "spec.blkio_config.device_read_bps[0].path: /dev/null is no block device" in said
    assert "Container/flat" not in {str(key) for key in machine.prepared.context.desired}


def test_weights_of_disks_are_set_or_refused_with_the_field(machine: Machine) -> None:
    text = machine.image + container("weighty", blkio_config={"weight": 300})
    outcomes = machine.apply(text)
    failed = [str(outcome.error) for outcome in outcomes if not outcome.ok]
    if failed:
        assert "spec.blkio_config" in failed[0]
    else:
        assert limits(machine, "weighty")["blockIO"]["weight"] == 300


def test_swappiness_is_set_or_refused_with_the_field(machine: Machine) -> None:
    outcomes = machine.apply(machine.image + container("calm", mem_swappiness=10))
    failed = [str(outcome.error) for outcome in outcomes if not outcome.ok]
    if failed:
        assert "spec.mem_swappiness" in failed[0]
    else:
        assert limits(machine, "calm")["memory"]["swappiness"] == 10


def test_every_limit_changes_while_the_container_runs(machine: Machine) -> None:
    """Last: the others look at the first limits."""
    before = {name: machine.process(name).pid for name in FIRST}
    machine.converge(machine.image + containers(THEN))
    assert {name: machine.process(name).pid for name in FIRST} == before
    memory = limits(machine, "memory")["memory"]
    assert (memory["limit"], memory["swap"], memory["reservation"]) == (64 * MIB, 64 * MIB, 20 * MIB)
    assert limits(machine, "memory-alone")["memory"]["limit"] == -1
    assert limits(machine, "unlimited-swap")["memory"]["swap"] == 20 * MIB
    assert (share(machine, "cpus"), share(machine, "quota")) == (1.5, 0.9)
    assert limits(machine, "shares")["cpu"]["shares"] == 1024
    assert run(machine, "pinned", "grep", "Cpus_allowed_list", "/proc/self/status").split()[1] == "0-1"
    assert limits(machine, "tasks")["pids"]["limit"] == 70
    assert limits(machine, "no-tasks-limit")["pids"]["limit"] == 4096
    disk = limits(machine, "disk")["blockIO"]
    assert disk["throttleReadBpsDevice"] == []
    assert disk["throttleWriteIOPSDevice"][0]["rate"] == 30
    assert Path(f"/proc/{workload(machine, 'score')}/oom_score_adj").read_text() == "500\n"


def test_lowering_the_out_of_memory_score_is_done_or_refused_plainly(machine: Machine) -> None:
    outcomes = machine.apply(machine.image + container("score", oom_score_adj=100))
    failed = [str(outcome.error) for outcome in outcomes if not outcome.ok]
    if failed:
        assert "spec.oom_score_adj" in failed[0] and "CAP_SYS_RESOURCE" in failed[0]
    else:
        assert Path(f"/proc/{workload(machine, 'score')}/oom_score_adj").read_text() == "100\n"
