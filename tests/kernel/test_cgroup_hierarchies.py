"""Where each controller is found, from the text of /proc/self/mountinfo alone."""

from __future__ import annotations

from runtime.kernel.cgroup.hierarchies import Hierarchies, Home, Version, find_mounts
from runtime.kernel.mountinfo import Mount, parse_line

SYSTEMD_V1 = """\
25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
31 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:28 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
36 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
37 31 0:32 / /sys/fs/cgroup/memory rw,nosuid shared:16 - cgroup cgroup rw,memory
"""


def parsed(text: str) -> list[Mount]:
    return [parse_line(line) for line in text.splitlines()]


def test_controllers_that_share_a_hierarchy_share_its_mount_point() -> None:
    v1, unified = find_mounts(parsed(SYSTEMD_V1))
    shared = "/sys/fs/cgroup/cpu,cpuacct"
    assert v1 == {"cpu": shared, "cpuacct": shared, "memory": "/sys/fs/cgroup/memory"}
    assert unified == "/sys/fs/cgroup/unified"


def test_a_bind_mount_elsewhere_does_not_win_over_the_customary_place() -> None:
    elsewhere = "12 1 0:31 / /var/copy rw - cgroup cgroup rw,memory\n11 1 0:27 / /var/copy2 rw - cgroup2 cgroup2 rw\n"
    v1, unified = find_mounts(parsed(elsewhere + SYSTEMD_V1))
    assert v1["memory"] == "/sys/fs/cgroup/memory"
    assert unified == "/sys/fs/cgroup/unified"


def test_v2_alone_is_v2_and_beside_v1_controllers_it_is_hybrid() -> None:
    assert Hierarchies({}, "/sys/fs/cgroup").version is Version.V2
    assert Hierarchies({"cpu": "/c"}, "/u").version is Version.HYBRID
    assert Hierarchies({"cpu": "/c"}, None).version is Version.V1


def test_v2_knows_blkio_as_io_and_devices_need_no_controller() -> None:
    found = Hierarchies({}, "/u", frozenset({"io", "cpu"}))
    assert found.home("blkio") == Home("blkio", "/u", 2)
    assert found.home("cpuacct") == Home("cpuacct", "/u", 2)
    assert found.home("devices") == Home("devices", "/u", 2)
    assert found.home("memory") is None


def test_a_hybrid_machine_takes_each_controller_from_where_it_is() -> None:
    found = Hierarchies({"memory": "/m"}, "/u", frozenset({"hugetlb"}))
    assert found.home("memory") == Home("memory", "/m", 1)
    assert found.home("hugetlb") == Home("hugetlb", "/u", 2)
    assert found.mounts() == ["/m", "/u"]


def test_controllers_of_one_mount_have_one_home() -> None:
    found = Hierarchies({"cpu": "/both", "cpuacct": "/both", "pids": "/p"})
    assert [home.mount for home in found.homes(["cpu", "cpuacct", "pids", "rdma"])] == ["/both", "/p"]
