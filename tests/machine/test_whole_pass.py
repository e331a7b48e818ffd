"""The main job on any kernel we run on: apply, nothing left to do, drift told and repaired, pause, delete.

Short on purpose: of this ring it is what the virtual machine runs. Reads the files of the cgroup itself, v1's and v2's.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.details import details
from reconciler.cli.seen import look, read_known
from reconciler.engine import open_engine
from runtime.kernel import apparmor, cgroup
from runtime.kernel.process import send_signal
from runtime.process import client
from schemas.names import Key, Kind
from tests.conftest import cgroup_directories, missing
from tests.machine.machine import Machine, told, until
from tests.machine.probe import attempt, container, document, own_machine, run, workload

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

IS_V2 = cgroup.detect() is cgroup.Version.V2
LIMITS = {"mem_limit": "64m", "memswap_limit": "64m", "pids_limit": 100, "cpus": 0.5, "cpuset": "0", "cpu_shares": 512}
V1 = {
    "memory.limit_in_bytes": "67108864",
    "memory.memsw.limit_in_bytes": "67108864",
    "pids.max": "100",
    "cpu.cfs_quota_us": "50000",
    "cpu.cfs_period_us": "100000",
    "cpuset.cpus": "0",
    "cpu.shares": "512",
}
V2 = {
    "memory.max": "67108864",
    "memory.swap.max": "0",
    "pids.max": "100",
    "cpu.max": "50000 100000",
    "cpuset.cpus": "0",
    "cpu.weight": "59",
}
FILES = V2 if IS_V2 else V1

OPEN_FUSE = ["sh", "-c", "rm -f /tmp/fuse && mknod /tmp/fuse c 10 229 && : < /tmp/fuse && echo opened"]


@pytest.fixture(scope="module")
def machine(busybox_tree: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree) as made:
        made.converge(made.image + shop())
        yield made


def shop(replicas: int = 2, state: str = "running") -> str:
    db = {"networks": ["front"], "volumes": ["data:/data"], "secrets": ["key"], "ports": ["127.0.0.1:15432:5432"]}
    template = {"image": "busybox", "init": True, "networks": ["front"]}
    return "".join(
        [
            document("Network", "front"),
            document("Volume", "data"),
            document("Secret", "key", content="hidden"),
            container("db", state=state, **LIMITS, **db),
            container("host-root", userns_mode="host"),
            container("host-root-with-rule", userns_mode="host", device_cgroup_rules=["c 10:229 r"]),
            document("Service", "web", **template, deploy={"replicas": replicas}),
        ]
    )


def limits_in_files(machine: Machine) -> dict[str, str]:
    found = {
        path.name: path for directory in cgroup_directories(machine.layout.cgroup("db")) for path in directory.iterdir()
    }
    return {name: found[name].read_text().strip() for name in FILES}


def test_limits_stand_in_the_kernels_files(machine: Machine) -> None:
    assert limits_in_files(machine) == FILES


def test_a_description_tells_limits_and_what_is_used(machine: Machine) -> None:
    with open_engine(machine.layout) as engine:
        seen = look(engine, read_known(engine), [Key(Kind.CONTAINER, "db")])[0]
    told = details(machine.layout, seen)
    assert told["limits"]["memory"]["limit"] == 64 << 20
    assert told["limits"]["pids"] == {"limit": 100}
    assert (told["usage"]["tasks"], told["usage"]["oom_kills"]) == (2, 0)


def test_volume_secret_and_names_are_there(machine: Machine) -> None:
    assert run(machine, "db", "cat", "/run/secrets/key") == "hidden"
    assert run(machine, "db", "sh", "-c", "echo kept > /data/mark; cat /data/mark") == "kept\n"
    assert "web" in run(machine, "db", "nslookup", "tasks.web.")


def test_the_default_profile_of_apparmor_confines_every_process_of_a_container(machine: Machine) -> None:
    if not apparmor.is_available():
        missing("AppArmor")
    confined = f"{apparmor.DEFAULT_PROFILE} (enforce)"
    for name in ("db", "host-root", "web-1"):
        assert Path(f"/proc/{workload(machine, name)}/attr/current").read_text().strip() == confined
    assert run(machine, "db", "cat", "/proc/self/attr/current").strip() == confined


def test_a_device_that_no_rule_names_is_refused_to_a_root_of_the_hosts(machine: Machine) -> None:
    assert "not permitted" in attempt(machine, "host-root", *OPEN_FUSE)[1]
    assert attempt(machine, "host-root-with-rule", *OPEN_FUSE) == (0, "opened\n")


def test_what_was_changed_by_hand_is_told_and_repaired(machine: Machine) -> None:
    text = machine.image + shop()
    db, replica = machine.process("db"), machine.process("web-1")
    cgroup.write_limits(machine.layout.cgroup("db"), {"pids": {"limit": 7}})
    subprocess.run(["ip", "link", "delete", machine.layout.link("b", "front")], check=True)
    send_signal(replica.pid, replica.start_time, signal.SIGKILL)
    client.wait(machine.layout, "web-1", 30)

    lines = "\n".join(told(machine.diff(text)))
    for drift in ("limits.pids.limit: 7 → 100", "drift: link: (none) →", "process: killed by signal 9 → running"):
        assert drift in lines, lines
    machine.converge(text)
    assert limits_in_files(machine) == FILES
    assert machine.process("db").pid == db.pid
    assert machine.process("web-1").pid != replica.pid


def test_a_paused_container_stands_still_in_the_kernels_books(machine: Machine) -> None:
    path = machine.layout.cgroup("db")
    machine.converge(machine.image + shop(state="paused"))
    assert cgroup.is_frozen(path)
    machine.converge(machine.image + shop())
    assert not cgroup.is_frozen(path)


def test_a_memory_hog_is_told_from_other_ends(machine: Machine) -> None:
    """The hog is another set's, so that the shop is untouched."""
    hog = container("hog", init=False, mem_limit="16m", memswap_limit="16m", command=["tail", "/dev/zero"])
    machine.apply(machine.image.replace("name: busybox", "name: hogs") + hog.replace('"busybox"', '"hogs"'), "hogs")
    ended = client.wait(machine.layout, "hog", 60)
    assert (ended.oom_killed, ended.signal) == (True, 9)
    assert machine.process("db").exit is None
    assert all(outcome.ok for outcome in machine.delete("hogs"))


def test_it_is_all_taken_away(machine: Machine) -> None:
    """Last: the others look at what stands."""
    paths = [machine.layout.cgroup(name) for name in machine.containers()]
    assert len(paths) >= 5
    assert [str(outcome.error) for outcome in machine.delete() if not outcome.ok] == []
    assert machine.containers() == []
    assert [directory for path in paths for directory in cgroup_directories(path)] == []
    until(lambda: machine.links() == [])
