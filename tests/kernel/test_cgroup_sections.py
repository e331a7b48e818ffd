"""What is written for each wish, and what the files are read as: both versions, on plain files.

A directory of ordinary files stands for a cgroup: sections only read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel.cgroup import blkio, cpu, hugetlb, memory, network, pids, rdma, unified
from runtime.kernel.cgroup.files import BadResources, Directory, MissingController, Setting, write_settings
from runtime.kernel.cgroup.resources import checked
from runtime.kernel.cgroup.section import Section

MIB = 1 << 20
NOWHERE = {1: Directory("/nonexistent", 1), 2: Directory("/nonexistent", 2)}


def written(
    section: Section, wanted: Mapping[str, Any], version: int, observed: Mapping[str, Any] | None = None
) -> Any:
    settings = section.settings(wanted, NOWHERE[version], observed or {})
    return [(setting.files[-1], setting.value) for setting in settings]


def directory(path: Path, version: int, files: Mapping[str, str]) -> Directory:
    for name, text in files.items():
        (path / name).write_text(f"{text}\n")
    return Directory(str(path), version)


# memory


def test_v1_writes_memory_and_swap_into_two_files() -> None:
    assert written(memory.MEMORY, {"limit": 64 * MIB, "swap": 96 * MIB}, 1) == [
        ("memory.limit_in_bytes", str(64 * MIB)),
        ("memory.memsw.limit_in_bytes", str(96 * MIB)),
    ]


def test_v2_keeps_swap_alone() -> None:
    assert written(memory.MEMORY, {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": MIB}, 2) == [
        ("memory.swap.max", str(32 * MIB)),
        ("memory.max", str(64 * MIB)),
        ("memory.low", str(MIB)),
    ]


@pytest.mark.parametrize(("version", "text"), [(1, "-1"), (2, "max")])
def test_no_memory_limit_means_no_swap_limit_either(version: int, text: str) -> None:
    assert {value for _, value in written(memory.MEMORY, {"limit": -1}, version)} == {text}
    assert len(written(memory.MEMORY, {"limit": -1}, version)) == 2


def test_v2_takes_the_memory_limit_of_now_for_a_change_of_swap_alone() -> None:
    assert written(memory.MEMORY, {"swap": 3 * MIB}, 2, {"limit": MIB}) == [("memory.swap.max", str(2 * MIB))]
    with pytest.raises(BadResources, match=r"needs a memory\.limit"):
        written(memory.MEMORY, {"swap": 3 * MIB}, 2)


@pytest.mark.parametrize("version", [1, 2])
def test_memory_with_swap_below_memory_alone_is_refused(version: int) -> None:
    with pytest.raises(BadResources, match=r"must not be below"):
        written(memory.MEMORY, {"limit": 2 * MIB, "swap": MIB}, version)


def test_what_v2_does_not_have_is_not_passed_over(tmp_path: Path) -> None:
    for wish in ({"swappiness": 10}, {"disableOOMKiller": True}, {"kernelTCP": MIB}, {"kernel": MIB}):
        settings = memory.MEMORY.settings(wish, Directory(str(tmp_path), 2), {})
        with pytest.raises(MissingController, match="no cgroup controller memory"):
            write_settings({"memory": Directory(str(tmp_path), 2)}, settings)


def test_counting_without_those_below_is_refused() -> None:
    assert written(memory.MEMORY, {"useHierarchy": True}, 1) == []
    with pytest.raises(BadResources, match="useHierarchy"):
        written(memory.MEMORY, {"useHierarchy": False}, 1)


def test_v1_and_v2_files_are_read_as_the_same_limits(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    v1 = directory(
        tmp_path / "1",
        1,
        {
            "memory.limit_in_bytes": str(64 * MIB),
            "memory.memsw.limit_in_bytes": str(96 * MIB),
            "memory.soft_limit_in_bytes": "9223372036854771712",
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0",
        },
    )
    v2 = directory(
        tmp_path / "2", 2, {"memory.max": str(64 * MIB), "memory.swap.max": str(32 * MIB), "memory.low": "0"}
    )
    same = {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": -1}
    assert memory.read(v2) == same
    assert memory.read(v1) == same | {"disableOOMKiller": False}


def test_a_limit_is_completed_to_whole_pages() -> None:
    assert memory.complete({"limit": MIB + 5}, NOWHERE[2])["limit"] == MIB


# cpu


def test_shares_become_weights_by_the_curve_through_both_defaults() -> None:
    pairs = {0: 1, 2: 1, 1024: 100, 262_144: 10_000, 10**9: 10_000}
    assert {shares: cpu.shares_to_weight(shares) for shares in pairs} == pairs


def test_every_weight_comes_back_through_shares() -> None:
    assert [w for w in range(1, 10_001) if cpu.shares_to_weight(cpu.weight_to_shares(w)) != w] == []
    assert cpu.weight_to_shares(100) == 1024


def test_quota_and_period_are_one_value_in_v2() -> None:
    assert written(cpu.CPU, {"quota": 50_000, "period": 200_000}, 2) == [("cpu.max", "50000 200000")]
    assert written(cpu.CPU, {"quota": -1}, 2) == [("cpu.max", "max 100000")]
    assert written(cpu.CPU, {"period": 50_000}, 2, {"quota": 7_000}) == [("cpu.max", "7000 50000")]
    assert written(cpu.CPU, {"quota": 50_000, "period": 200_000}, 1) == [
        ("cpu.cfs_period_us", "200000"),
        ("cpu.cfs_quota_us", "50000"),
    ]


def test_an_idle_cgroup_gets_no_weight() -> None:
    assert written(cpu.CPU, {"idle": 1, "shares": 512}, 1) == [("cpu.idle", "1")]


def test_a_burst_above_the_quota_is_refused() -> None:
    with pytest.raises(BadResources, match=r"burst .* must not exceed"):
        written(cpu.CPU, {"quota": 1000, "burst": 2000}, 1)


@pytest.mark.parametrize(
    ("text", "normal"), [("", ""), ("0-1", "0-1"), ("3, 0,1", "0-1,3"), ("5", "5"), ("0,1,2,4-6", "0-2,4-6")]
)
def test_lists_of_processors_have_one_spelling(text: str, normal: str) -> None:
    assert cpu.list_text(cpu.parse_list(text)) == normal


@pytest.mark.parametrize("text", ["a", "1-", "-1", "0-99999999", "1;2"])
def test_what_is_no_list_of_processors_is_refused(text: str) -> None:
    with pytest.raises(BadResources, match="is not a list of numbers"):
        cpu.parse_list(text)


# block devices


def test_rates_are_lines_per_device() -> None:
    wish = {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 600}]}
    assert written(blkio.BLKIO, wish, 1) == [("blkio.throttle.read_bps_device", "8:16 600")]
    assert written(blkio.BLKIO, wish, 2) == [("io.max", "8:16 rbps=600")]


def test_a_rate_no_longer_wanted_is_taken_back() -> None:
    observed = {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 600}]}
    wish: dict[str, Any] = {"throttleReadBpsDevice": []}
    assert written(blkio.BLKIO, wish, 1, observed) == [("blkio.throttle.read_bps_device", "8:16 0")]
    assert written(blkio.BLKIO, wish, 2, observed) == [("io.max", "8:16 rbps=max")]


def test_weights_are_scaled_for_v2_unless_bfq_takes_them_as_they_are(tmp_path: Path) -> None:
    assert written(blkio.BLKIO, {"weight": 1000}, 2) == [("io.weight", "default 10000")]
    bfq = directory(tmp_path, 2, {"io.bfq.weight": "default 100"})
    assert [s.value for s in blkio.settings({"weight": 500}, bfq, {})] == ["default 500"]


def test_every_oci_weight_comes_back_from_v2() -> None:
    weights = range(10, 1001)
    assert [w for w in weights if blkio.io_weight_to_weight(blkio.weight_to_io_weight(w)) != w] == []


def test_v2_rates_are_read_per_direction(tmp_path: Path) -> None:
    found = blkio.read(directory(tmp_path, 2, {"io.max": "8:0 rbps=max wbps=9 riops=7 wiops=max"}))
    assert found["throttleWriteBpsDevice"] == [{"major": 8, "minor": 0, "rate": 9}]
    assert found["throttleReadIOPSDevice"] == [{"major": 8, "minor": 0, "rate": 7}]
    assert found["throttleReadBpsDevice"] == []


# the small ones


def test_zero_tasks_is_a_limit_and_minus_one_is_none() -> None:
    assert written(pids.PIDS, {"limit": 0}, 2) == [("pids.max", "0")]
    assert written(pids.PIDS, {"limit": -1}, 1) == [("pids.max", "max")]


def test_huge_pages_are_limited_where_reserved_and_where_used() -> None:
    wish = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}
    assert written(hugetlb.HUGETLB, wish, 1) == [
        ("hugetlb.2MB.rsvd.limit_in_bytes", str(4 * MIB)),
        ("hugetlb.2MB.limit_in_bytes", str(4 * MIB)),
    ]
    gone = written(hugetlb.HUGETLB, {"hugepageLimits": []}, 2, wish)
    assert gone == [("hugetlb.2MB.rsvd.max", "max"), ("hugetlb.2MB.max", "max")]


def test_huge_page_limits_are_read_without_those_that_are_none(tmp_path: Path) -> None:
    files = {"hugetlb.2MB.max": str(4 * MIB), "hugetlb.1GB.max": "max", "hugetlb.2MB.rsvd.max": "max"}
    found = hugetlb.read(directory(tmp_path, 2, files))
    assert found == {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}
    rounded = hugetlb.complete({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB + 1}]}, NOWHERE[2])
    assert rounded == found


def test_class_and_priorities_are_v1_files() -> None:
    assert written(network.NET_CLASS, {"classID": 1048577}, 1) == [("net_cls.classid", "1048577")]
    wish = {"priorities": [{"name": "eth0", "priority": 5}]}
    assert written(network.NET_PRIORITY, wish, 1, {"priorities": [{"name": "eth1", "priority": 2}]}) == [
        ("net_prio.ifpriomap", "eth1 0"),
        ("net_prio.ifpriomap", "eth0 5"),
    ]


def test_rdma_names_both_limits_of_a_device(tmp_path: Path) -> None:
    wish = {"rdma": {"mlx5_1": {"hcaHandles": 3}}}
    assert written(rdma.RDMA, wish, 2) == [("rdma.max", "mlx5_1 hca_handle=3 hca_object=max")]
    assert rdma.read(directory(tmp_path, 2, {"rdma.max": "mlx5_1 hca_handle=3 hca_object=max"})) == wish


# v2 files by name


@pytest.mark.parametrize("name", ["cgroup.procs", "cgroup.kill", "../memory.max", "memory", "a/b.max", "cgroup.freeze"])
def test_files_that_are_no_limits_are_refused(name: str) -> None:
    with pytest.raises(BadResources, match="not the name of a limit"):
        unified.settings({name: "1"})


def test_a_value_of_several_lines_is_written_line_by_line() -> None:
    assert unified.settings({"io.max": "8:0 rbps=1\n8:1 rbps=2"}) == [
        Setting("unified", ("io.max",), "8:0 rbps=1"),
        Setting("unified", ("io.max",), "8:1 rbps=2"),
    ]


def test_a_file_that_says_more_than_was_written_does_not_differ(tmp_path: Path) -> None:
    files = directory(tmp_path, 2, {"io.max": "8:0 rbps=1 wbps=max riops=max wiops=max", "memory.high": "max"})
    assert unified.differs(files, "io.max", "8:0 rbps=1") is None
    assert unified.differs(files, "io.max", "8:0 rbps=2") == "8:0 rbps=1 wbps=max riops=max wiops=max"
    assert unified.differs(files, "memory.high", "1048576") == "max"
    assert unified.differs(files, "memory.low", "1048576") == ""


# the shape


@pytest.mark.parametrize(
    ("resources", "place"),
    [
        ({"memroy": {}}, "linux.resources.memroy: unknown"),
        ({"memory": {"limits": 1}}, "linux.resources.memory.limits: unknown"),
        ({"memory": {"limit": "64m"}}, "linux.resources.memory.limit: '64m' is not of type int"),
        ({"memory": {"limit": True}}, "linux.resources.memory.limit: True is not of type int"),
        ({"devices": [{"allow": True, "path": "/dev/x"}]}, r"linux.resources.devices\[0\].path: unknown"),
        ({"blockIO": {"weightDevice": [{"rate": 1}]}}, r"linux.resources.blockIO.weightDevice\[0\].rate: unknown"),
        ({"unified": []}, "linux.resources.unified: not an object"),
        ({"devices": {}}, "linux.resources.devices: not a list"),
    ],
)
def test_what_runtime_spec_does_not_know_is_refused_with_its_place(resources: dict[str, Any], place: str) -> None:
    with pytest.raises(BadResources, match=place):
        checked(resources)


def test_absent_values_are_left_out() -> None:
    assert checked({"memory": {"limit": None, "swap": 5}, "pids": None}) == {"memory": {"swap": 5}}
