"""Limits written, read back, compared and mended on the real kernel, whichever version it has."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel import cgroup
from runtime.kernel.cgroup.directories import directory_of
from runtime.kernel.cgroup.files import Directory, write_file
from runtime.kernel.cgroup.hierarchies import Hierarchies
from tests.conftest import EMULATED, missing
from tests.kernel.cgroup_fixtures import ONLY_V1, ONLY_V2, leftovers, running

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

MIB = 1 << 20
LIMITS: dict[str, dict[str, Any]] = {
    "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
    "cpu": {"shares": 512, "quota": 50_000, "period": 200_000, "cpus": "0"},
    "pids": {"limit": 40},
}


def edit(path: str, controller: str, v1: str, v2: str, value: str) -> None:
    """Somebody writes a limit by hand."""
    directory = directory_of(controller, path)
    write_file(f"{directory.path}/{v1 if directory.version == 1 else v2}", value)


def memory_limit(path: str) -> int:
    return int(cgroup.read_limits(path)["memory"]["limit"])


def test_limits_are_read_back_as_they_were_asked(path: str) -> None:
    cgroup.create(path, LIMITS)
    found = cgroup.read_limits(path)
    for section, fields in LIMITS.items():
        assert {name: found[section][name] for name in fields if name != "shares"} == {
            name: value for name, value in fields.items() if name != "shares"
        }
    assert cgroup.differences(path, LIMITS) == ()


def test_a_cgroup_without_limits_has_none(path: str) -> None:
    cgroup.create(path, {})
    found = cgroup.read_limits(path)
    assert found["memory"]["limit"] == found["memory"]["swap"] == found["pids"]["limit"] == found["cpu"]["quota"] == -1
    assert found["cpu"]["shares"] == 1024
    assert cgroup.differences(path, {}) == ()


def test_devices_are_denied_when_nothing_is_said_about_them(path: str) -> None:
    cgroup.create(path, {})
    assert cgroup.read_limits(path)["devices"] == cgroup.complete({"devices": []})["devices"]


def test_creating_again_changes_the_limits(path: str) -> None:
    cgroup.create(path, LIMITS)
    cgroup.create(path, LIMITS | {"pids": {"limit": 7}})
    assert cgroup.read_limits(path)["pids"] == {"limit": 7}


@pytest.mark.parametrize(
    ("controller", "v1", "v2", "value", "field", "observed"),
    [
        ("memory", "memory.limit_in_bytes", "memory.max", str(48 * MIB), "memory.limit", 48 * MIB),
        ("pids", "pids.max", "pids.max", "max", "pids.limit", -1),
        ("cpu", "cpu.shares", "cpu.weight", "1000", "cpu.shares", None),
        ("cpu", "cpu.cfs_quota_us", "cpu.max", "30000", "cpu.quota", 30_000),
    ],
)
def test_a_limit_edited_by_hand_is_seen_and_mended(
    path: str, controller: str, v1: str, v2: str, value: str, field: str, observed: int | None
) -> None:
    cgroup.create(path, LIMITS)
    edit(path, controller, v1, v2, value)
    found = {difference.field: difference.observed for difference in cgroup.differences(path, LIMITS)}
    assert field in found
    assert observed is None or found[field] == observed
    assert {difference.field for difference in cgroup.ensure_limits(path, LIMITS)} == set(found)
    assert cgroup.differences(path, LIMITS) == ()


def test_a_limit_nobody_asked_for_is_a_difference_too(path: str) -> None:
    cgroup.create(path, {})
    edit(path, "pids", "pids.max", "pids.max", "5")
    assert cgroup.differences(path, {}) == (cgroup.Difference("pids.limit", -1, 5),)
    cgroup.ensure_limits(path, {})
    assert cgroup.read_limits(path)["pids"] == {"limit": -1}


def test_limits_rise_and_fall_whatever_order_the_kernel_wants(path: str) -> None:
    cgroup.create(path, {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}})
    for size in (256, 32, 128, 16):
        cgroup.write_limits(path, {"memory": {"limit": size * MIB, "swap": (size + 16) * MIB}})
        memory = cgroup.read_limits(path)["memory"]
        assert (memory["limit"], memory["swap"]) == (size * MIB, (size + 16) * MIB)
    cgroup.write_limits(path, {"memory": {"limit": -1}})
    memory = cgroup.read_limits(path)["memory"]
    assert (memory["limit"], memory["swap"]) == (-1, -1)


def test_quota_burst_and_period_rise_and_fall_together(path: str) -> None:
    cgroup.create(path, {})
    for quota, burst, period in ((50_000, 50_000, 100_000), (5_000, 4_000, 1_000_000), (800_000, 700_000, 10_000)):
        wanted = {"quota": quota, "burst": burst, "period": period}
        cgroup.write_limits(path, {"cpu": wanted})
        found = cgroup.read_limits(path)["cpu"]
        assert {name: found[name] for name in wanted} == wanted


def test_a_partial_update_leaves_the_rest(path: str) -> None:
    cgroup.create(path, LIMITS)
    cgroup.write_limits(path, {"pids": {"limit": 9}})
    found = cgroup.read_limits(path)
    assert found["pids"] == {"limit": 9}
    assert found["memory"]["limit"] == 64 * MIB
    assert found["cpu"]["quota"] == 50_000


def test_a_refused_value_says_which_file_and_which_value(path: str) -> None:
    cgroup.create(path, {})
    with pytest.raises(OSError, match=r"writing '1'.*cpu\.(cfs_quota_us|max)|writing '1 100000'") as caught:
        cgroup.write_limits(path, {"cpu": {"quota": 1}})
    assert caught.value.errno == errno.EINVAL


def test_a_cgroup_that_cannot_be_limited_as_asked_is_not_left_behind(path: str) -> None:
    with pytest.raises(cgroup.BadResources):
        cgroup.create(path, {"memory": {"limit": 8 * MIB, "swap": MIB}})
    assert leftovers(path) == []
    with pytest.raises(OSError, match="Invalid argument"):
        cgroup.create(path, {"cpu": {"quota": 1}})
    assert leftovers(path) == []


def test_a_controller_this_machine_lacks_is_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = cgroup.hierarchies()
    without = Hierarchies(
        {name: mount for name, mount in found.v1.items() if name != "pids"},
        found.unified,
        found.unified_controllers - {"pids"},
    )
    for module in ("directories", "limits"):
        monkeypatch.setattr(f"runtime.kernel.cgroup.{module}.hierarchies", lambda: without)
    with pytest.raises(cgroup.MissingController, match="no cgroup controller pids") as caught:
        cgroup.create(path, {"pids": {"limit": 5}})
    assert caught.value.controller == "pids"
    assert leftovers(path) == []


@ONLY_V1
def test_v2_files_are_refused_where_controllers_are_v1s(path: str) -> None:
    with pytest.raises(cgroup.MissingController):
        cgroup.create(path, {"unified": {"memory.high": "1048576"}})


@ONLY_V2
def test_v2_files_are_written_and_compared(path: str) -> None:
    wanted = {"unified": {"memory.high": str(32 * MIB), "cpu.weight.nice": "5"}}
    cgroup.create(path, wanted)
    assert cgroup.differences(path, wanted) == ()
    edit(path, "memory", "", "memory.high", "max")
    assert cgroup.differences(path, wanted) == (cgroup.Difference("unified.memory.high", str(32 * MIB), "max"),)
    edit(path, "memory", "", "memory.max", str(64 * MIB))
    cgroup.ensure_limits(path, wanted | {"memory": {"limit": 128 * MIB}})
    assert memory_limit(path) == 128 * MIB
    assert cgroup.differences(path, wanted) == ()


def test_memory_below_what_is_used_is_refused_when_asked_to_check(path: str) -> None:
    cgroup.create(path, {})
    code = "data = b'x' * (32 << 20); print('ready', flush=True); import time; time.sleep(60)"
    with running(path, "python3", "-S", "-c", code) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(OSError, match="below what is used") as caught:
            cgroup.write_limits(path, {"memory": {"limit": 8 * MIB, "checkBeforeUpdate": True}})
        assert caught.value.errno == errno.EBUSY
        assert child.poll() is None
    assert memory_limit(path) == -1


def test_a_controller_asked_for_late_gets_the_running_processes(path: str) -> None:
    cgroup.create(path, {})
    with running(path, "/bin/sh", "-c", "sleep 60 & sleep 60") as child:
        cgroup.write_limits(path, {"cpu": {"cpus": "0"}})
        assert cgroup.read_limits(path)["cpu"]["cpus"] == "0"
        assert set(cgroup.processes(path)) >= {child.pid}
        for pid in cgroup.processes(path):
            assert "Cpus_allowed_list:\t0\n" in Path(f"/proc/{pid}/status").read_text()


def test_a_child_list_of_all_processors_is_no_limit(path: str) -> None:
    cgroup.create(path, {"cpu": {"cpus": "0"}})
    cgroup.ensure_limits(path, {})
    assert cgroup.read_limits(path)["cpu"]["cpus"] == ""


def test_weights_and_rates_of_block_devices(path: str) -> None:
    device = block_device()
    wanted = {"blockIO": {"throttleReadBpsDevice": [{**device, "rate": 4 * MIB}]}}
    cgroup.create(path, wanted)
    assert cgroup.read_limits(path)["blockIO"]["throttleReadBpsDevice"] == [{**device, "rate": 4 * MIB}]
    assert cgroup.differences(path, wanted) == ()
    assert [d.field for d in cgroup.ensure_limits(path, {})] == ["blockIO.throttleReadBpsDevice"]
    assert cgroup.read_limits(path)["blockIO"]["throttleReadBpsDevice"] == []


def test_a_weight_of_block_devices_is_read_back(path: str) -> None:
    wanted = {"blockIO": {"weight": 500}}
    try:
        cgroup.create(path, wanted)
    except cgroup.MissingController as error:
        assert error.controller == "blkio"  # neither BFQ nor io.cost in this kernel
        return
    assert cgroup.differences(path, wanted) == ()
    assert [d.field for d in cgroup.ensure_limits(path, {})] == ["blockIO.weight"]


@ONLY_V1
def test_realtime_is_handed_down_by_the_engines_cgroup(path: str) -> None:
    if not Directory(cgroup.hierarchies().v1["cpu"], 1).has("cpu.rt_runtime_us"):
        pytest.skip("this kernel does not group realtime tasks (CONFIG_RT_GROUP_SCHED)")
    wanted = {"cpu": {"realtimeRuntime": 20_000, "realtimePeriod": 1_000_000}}
    for name in (path, path.replace("/box", "/other")):
        cgroup.create(name, wanted)
        cgroup.write_limits(name, wanted)
        assert cgroup.differences(name, wanted) == ()
    engine = directory_of("cpu", path.rsplit("/", 1)[0])
    assert engine.number("cpu.rt_runtime_us") == 40_000


def test_huge_pages_are_limited_wherever_their_controller_lives(path: str) -> None:
    wanted = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}
    cgroup.create(path, wanted)
    assert cgroup.read_limits(path)["hugepageLimits"] == wanted["hugepageLimits"]
    assert [d.field for d in cgroup.ensure_limits(path, {})] == ["hugepageLimits"]
    assert cgroup.read_limits(path)["hugepageLimits"] == []


def block_device() -> dict[str, Any]:
    for name in ("vda", "sda", "loop0"):
        file = Path(f"/sys/block/{name}/dev")
        if file.exists():
            major, minor = file.read_text().split(":")
            return {"major": int(major), "minor": int(minor)}
    missing("a block device")
    raise AssertionError


def test_usage_tells_memory_processor_time_and_tasks(path: str) -> None:
    cgroup.create(path, {})
    assert cgroup.read_usage(path).tasks == 0
    with running(
        path, "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; sleep 60"
    ) as child:
        assert child.stdout
        child.stdout.readline()
        used = cgroup.read_usage(path)
    assert used.tasks and used.tasks >= 1
    assert used.cpu and used.cpu > 1_000_000
    assert used.memory and used.memory > 4096
    with pytest.raises(FileNotFoundError):
        cgroup.read_usage(f"{path}-none")


def test_reading_a_cgroup_that_is_not_there_says_so(path: str) -> None:
    for read in (cgroup.read_limits, lambda name: cgroup.differences(name, {})):
        with pytest.raises(FileNotFoundError):
            read(path)


@pytest.mark.parametrize("bad", ["box", "/", "/a/../b"])
def test_a_path_outside_is_refused(bad: str) -> None:
    with pytest.raises(cgroup.BadResources):
        cgroup.create(bad, {})


def test_engines_parent_goes_with_its_last_cgroup(path: str) -> None:
    engine, other = path.rsplit("/", 1)[0], path.replace("/box", "/other")
    cgroup.create(path, {})
    cgroup.create(other, {})
    cgroup.remove(path)
    assert leftovers(engine)
    cgroup.remove(other)
    assert leftovers(engine) == []


def test_making_and_removing_neighbours_at_once_loses_none(path: str) -> None:
    """The engine's parent comes and goes under the other's hands."""
    failures: list[Exception] = []

    def rounds(name: str) -> None:
        try:
            for _ in range(40):
                cgroup.create(name, {})
                cgroup.remove(name)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=rounds, args=(name,)) for name in (path, path.replace("/box", "/other"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.skipif(EMULATED, reason="about time: not in an emulated machine")
def test_creating_is_quick(path: str) -> None:
    """Half a millisecond is the aim; the bound leaves room for a busy machine."""
    cgroup.create(path.replace("/box", "/other"), {})
    seconds = []
    for _ in range(40):
        began = time.perf_counter()
        cgroup.create(path, LIMITS)
        seconds.append(time.perf_counter() - began)
        cgroup.remove(path)
    assert sorted(seconds)[20] < 0.003
