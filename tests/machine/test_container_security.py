"""What a container may do and whose namespaces it has: looked at from inside, or in the kernel's own books."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel import apparmor, capabilities, cgroup
from runtime.process import client
from schemas.errors import Invalid
from tests.conftest import missing
from tests.machine.machine import Machine
from tests.machine.probe import attempt, container, document, own_machine, refusal, run, status, workload

pytestmark = pytest.mark.kernel

MKDIR_REFUSED = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}],
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("manifests")
    (made / "profile.json").write_text(json.dumps(MKDIR_REFUSED))
    return made


@pytest.fixture(scope="module")
def machine(busybox_tree: Path, directory: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree) as made:
        made.converge(made.image + manifests(directory))
        yield made


def manifests(directory: Path) -> str:
    return "".join(
        [
            container("plain"),
            container("added", cap_add=["NET_ADMIN", "CAP_SYS_TIME"]),
            container("dropped", cap_drop=["ALL"], cap_add=["CHOWN"]),
            container("every", cap_add=["ALL"], cap_drop=["SYS_MODULE"]),
            container("user-added", user="1000:1000", cap_add=["NET_ADMIN"]),
            container("mighty", privileged=True, devices=[]),
            container("sealed", read_only=True, tmpfs=["/run"]),
            container("unfiltered", security_opt=["seccomp=unconfined"]),
            container("own-filter", security_opt=[f"seccomp={directory}/profile.json"]),
            container("no-more", security_opt=["no-new-privileges"]),
            container("unmasked", security_opt=["systempaths=unconfined"]),
            container("apparmor-off", security_opt=["apparmor=unconfined"]),
            container("host-users", userns_mode="host"),
            container("host-pids", pid="host"),
            container("host-ipc", ipc="host"),
            container("no-ipc", ipc="none"),
            container("host-names", uts="host"),
            container("host-cgroups", cgroup="host"),
            container("peer", ipc="shareable", shm_size="1m", environment={"MARK": "peer"}),
            container("joiner", network_mode="container:peer", pid="container:peer", ipc="container:peer"),
            container("host-peer", userns_mode="host"),
            container("host-joiner", pid="container:host-peer"),
            container("device", devices=["/dev/loop-control:/dev/own/control:r", "/dev/full"]),
            container("host-device", userns_mode="host", devices=["/dev/loop-control:/dev/own/control:r"]),
            container("several-devices", devices=["/dev/net:/dev/wires"]),
            container("rules", device_cgroup_rules=["c 10:229 rwm"]),
            container("shm", shm_size="3m"),
            container("tuned", sysctls={"net.ipv4.ip_unprivileged_port_start": 99, "kernel.msgmax": "4096"}),
            container("tuned-link", sysctls={"net.ipv4.conf.eth0.forwarding": "1", "net.ipv4.ip_forward": "1"}),
            container("limited", ulimits={"nofile": {"soft": 100, "hard": 200}, "core": 0}),
        ]
    )


def held(machine: Machine, name: str, field: str = "CapEff") -> set[str]:
    return names_of(int(status(machine, name, field), 16))


def names_of(bits: int) -> set[str]:
    """The capabilities of a mask of capabilities(7)."""
    return {name.removeprefix("CAP_") for name, number in capabilities.NUMBERS.items() if bits >> number & 1}


DEFAULT = {name.removeprefix("CAP_") for name in capabilities.DEFAULT}


def test_a_container_has_the_default_capabilities(machine: Machine) -> None:
    assert held(machine, "plain") == DEFAULT
    assert held(machine, "plain", "CapBnd") == DEFAULT


def test_capabilities_are_added(machine: Machine) -> None:
    assert held(machine, "added") == DEFAULT | {"NET_ADMIN", "SYS_TIME"}


def test_all_are_dropped_but_those_added(machine: Machine) -> None:
    assert held(machine, "dropped") == {"CHOWN"}


def test_all_are_added_but_those_dropped(machine: Machine) -> None:
    assert "SYS_MODULE" not in held(machine, "every")
    assert "SYS_ADMIN" in held(machine, "every")


def test_another_user_than_root_holds_no_capabilities(machine: Machine) -> None:
    assert held(machine, "user-added") == set()
    assert "NET_ADMIN" in held(machine, "user-added", "CapBnd")


def test_a_privileged_container_may_everything_and_sees_the_hosts_devices(machine: Machine) -> None:
    assert held(machine, "mighty") == held_by_us()
    assert own_namespace(machine, "mighty", "user") is False
    assert status(machine, "mighty", "Seccomp") == "0"
    assert "kmsg" in run(machine, "mighty", "ls", "/dev").split()
    assert attempt(machine, "mighty", "mount", "-t", "tmpfs", "none", "/tmp")[0] == 0


def held_by_us() -> set[str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return names_of(int(next(line.split()[1] for line in lines if line.startswith("CapEff")), 16))


def test_a_read_only_root_takes_no_files_but_a_tmpfs_does(machine: Machine) -> None:
    assert "Read-only file system" in attempt(machine, "sealed", "touch", "/etc/new")[1]
    assert attempt(machine, "sealed", "touch", "/run/new") == (0, "")


def test_the_default_filter_of_system_calls_is_on(machine: Machine) -> None:
    assert status(machine, "plain", "Seccomp") == "2"
    assert attempt(machine, "plain", "unshare", "-n", "true")[0] != 0


def test_a_container_may_go_without_the_filter(machine: Machine) -> None:
    assert status(machine, "unfiltered", "Seccomp") == "0"


def test_a_filter_of_ones_own_is_read_from_a_file(machine: Machine) -> None:
    assert attempt(machine, "own-filter", "mkdir", "/tmp/new")[0] != 0
    assert attempt(machine, "plain", "mkdir", "/tmp/new")[0] == 0


def test_a_filter_is_found_beside_the_manifest(machine: Machine, directory: Path) -> None:
    from reconciler.sources.relative import locate
    from schemas.load import Text, load

    text = container("relative", security_opt=["seccomp=profile.json"])
    (item,) = (locate(each) for each in load([Text(str(directory / "shop.yaml"), text)], {}))
    assert f"seccomp={directory}/profile.json" in item.spec.model_dump()["security_opt"]


def test_no_new_privileges_holds(machine: Machine) -> None:
    assert status(machine, "no-more", "NoNewPrivs") == "1"
    assert status(machine, "plain", "NoNewPrivs") == "0"


def test_kernel_files_are_masked_unless_it_is_said(machine: Machine) -> None:
    assert attempt(machine, "plain", "sh", "-c", "echo h > /proc/sys/kernel/domainname")[0] != 0
    assert run(machine, "plain", "cat", "/proc/timer_list") == ""
    assert "mounted" not in run(machine, "plain", "sh", "-c", "grep -c . /proc/mounts")
    assert "/proc/sys" not in mount_points(machine, "unmasked")
    assert "/proc/sys" in mount_points(machine, "plain")


def mount_points(machine: Machine, name: str) -> set[str]:
    lines = Path(f"/proc/{machine.process(name).pid}/mountinfo").read_text().splitlines()
    return {line.split()[4] for line in lines}


def test_a_profile_of_apparmor_that_is_not_there_is_refused(machine: Machine) -> None:
    text = machine.image + container("profiled", security_opt=["apparmor=no-such-profile"])
    assert "no-such-profile" in refusal(machine, text)
    assert machine.process("apparmor-off").exit is None


def test_the_default_profile_of_apparmor_is_entered(machine: Machine) -> None:
    if not apparmor.is_available():
        missing("AppArmor")
    label = Path(f"/proc/{workload(machine, 'plain')}/attr/apparmor/current").read_text()
    assert label.strip() == f"{apparmor.DEFAULT_PROFILE} (enforce)"


def own_namespace(machine: Machine, name: str, kind: str) -> bool:
    return not share(os.getpid(), machine.process(name).pid, kind)


def share(one: int, other: int, kind: str) -> bool:
    """Whether two processes are in one namespace of that kind."""
    return Path(f"/proc/{one}/ns/{kind}").samefile(f"/proc/{other}/ns/{kind}")


@pytest.mark.parametrize("kind", ["user", "pid", "ipc", "uts", "cgroup", "mnt", "net"])
def test_a_container_has_namespaces_of_its_own(machine: Machine, kind: str) -> None:
    assert own_namespace(machine, "plain", kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("host-users", "user"),
        ("host-pids", "pid"),
        ("host-ipc", "ipc"),
        ("host-names", "uts"),
        ("host-cgroups", "cgroup"),
    ],
)
def test_a_container_shares_the_hosts_where_it_says_so(machine: Machine, name: str, kind: str) -> None:
    assert not own_namespace(machine, name, kind)
    assert run(machine, name, "cat", "/proc/self/comm") == "cat\n"


def test_root_inside_is_nobody_outside(machine: Machine) -> None:
    assert int(status(machine, "plain", "Uid").split()[0]) >= 65_536
    assert status(machine, "host-users", "Uid").split()[0] == "0"
    assert run(machine, "plain", "id", "-u") == "0\n"


def test_every_container_has_ids_of_its_own(machine: Machine) -> None:
    owners = {status(machine, name, "Uid").split()[0] for name in ("plain", "added", "dropped", "sealed")}
    assert len(owners) == 4


def test_a_container_sees_the_hosts_processes_where_it_says_so(machine: Machine) -> None:
    assert attempt(machine, "host-pids", "test", "-d", f"/proc/{os.getpid()}")[0] == 0
    assert attempt(machine, "plain", "test", "-d", f"/proc/{os.getpid()}")[0] != 0


def test_a_container_without_shared_memory_has_none(machine: Machine) -> None:
    assert "/dev/shm" not in mount_points(machine, "no-ipc")


def test_a_container_joins_anothers_network_processes_and_memory(machine: Machine) -> None:
    peer, joiner = machine.process("peer").pid, machine.process("joiner").pid
    for kind in ("net", "pid", "ipc", "user"):
        assert share(peer, joiner, kind), kind
    run(machine, "peer", "sh", "-c", "echo shared > /dev/shm/note")
    assert run(machine, "joiner", "cat", "/dev/shm/note") == "shared\n"
    assert "sleep" in run(machine, "joiner", "ps")


def test_a_container_joins_a_service_by_its_first_replica(machine: Machine) -> None:
    peers = document("Service", "peers", image="busybox", init=True, ipc="shareable", deploy={"replicas": 2})
    joined = dict.fromkeys(("network_mode", "pid", "ipc"), "service:peers")
    machine.converge(machine.image + peers + container("of-service", **joined))
    first, joiner = machine.process("peers-1").pid, machine.process("of-service").pid
    for kind in ("net", "pid", "ipc", "user"):
        assert share(first, joiner, kind), kind
    nobodys = machine.image + peers.replace('"replicas": 2', '"replicas": 0') + container("lonely", pid="service:peers")
    with pytest.raises(Invalid, match=r"Container/lonely spec\.pid: the Service peers has no replica"):
        machine.diff(nobodys)


def test_files_of_a_joined_containers_image_belong_to_its_root(machine: Machine) -> None:
    assert run(machine, "joiner", "stat", "-c", "%u", "/bin/busybox") == "0\n"
    assert attempt(machine, "joiner", "touch", "/etc/own") == (0, "")


def test_a_joined_network_brings_its_names_and_resolver(machine: Machine) -> None:
    assert run(machine, "joiner", "cat", "/etc/resolv.conf") == run(machine, "peer", "cat", "/etc/resolv.conf")
    assert "\tpeer" in run(machine, "joiner", "cat", "/etc/hosts")


def test_one_that_joins_a_container_in_the_hosts_user_namespace_is_in_it_too(machine: Machine) -> None:
    assert not own_namespace(machine, "host-joiner", "user")
    assert "sleep" in run(machine, "host-joiner", "ps")


def test_a_private_ipc_namespace_cannot_be_joined(machine: Machine) -> None:
    text = machine.image + container("plain") + container("intruder", ipc="container:plain")
    assert "write ipc: shareable" in refusal(machine, text)


def test_a_joiner_follows_its_peer_to_a_new_incarnation(machine: Machine) -> None:
    os.kill(machine.process("peer").pid, signal.SIGKILL)
    client.wait(machine.layout, "peer", 10)
    machine.converge(machine.image + manifests_of(machine))
    peer, joiner = machine.process("peer").pid, machine.process("joiner").pid
    assert share(peer, joiner, "net")


def manifests_of(machine: Machine) -> str:
    return container("peer", ipc="shareable", shm_size="1m", environment={"MARK": "peer"}) + container(
        "joiner", network_mode="container:peer", pid="container:peer", ipc="container:peer"
    )


@pytest.mark.parametrize("name", ["device", "host-device"])
def test_a_device_appears_where_it_is_wanted_with_the_access_it_was_given(machine: Machine, name: str) -> None:
    assert attempt(machine, name, "sh", "-c", ": < /dev/own/control") == (0, "")
    assert "not permitted" in attempt(machine, name, "sh", "-c", ": > /dev/own/control")[1]
    mode = Path("/dev/loop-control").stat().st_mode & 0o777
    assert run(machine, name, "stat", "-c", "%u %a", "/dev/own/control") == f"0 {mode:o}\n"


def test_a_directory_of_devices_comes_whole(machine: Machine) -> None:
    assert run(machine, "several-devices", "stat", "-c", "%t:%T", "/dev/wires/tun") == "a:c8\n"


def test_a_device_the_rules_do_not_name_cannot_be_used(machine: Machine) -> None:
    kmsg = machine.process("host-users").pid
    subprocess.run(["nsenter", "-t", str(kmsg), "-m", "/bin/mknod", "/tmp/kmsg", "c", "1", "11"], check=True)
    assert "not permitted" in attempt(machine, "host-users", "cat", "/tmp/kmsg")[1]


def test_device_rules_reach_the_cgroup(machine: Machine) -> None:
    rules = cgroup.read_limits(machine.layout.cgroup("rules"))["devices"]
    assert any((rule.get("major"), rule.get("minor")) == (10, 229) for rule in rules if rule["allow"]), rules


def test_something_that_is_no_device_is_refused(machine: Machine) -> None:
    text = machine.image + container("nodevice", devices=["/etc/hostname"])
    assert "is no device" in refusal(machine, text)
    text = machine.image + container("nodevice", devices=["/dev/no-such-device"])
    assert "/dev/no-such-device" in refusal(machine, text)


def test_shared_memory_has_the_size_it_was_given(machine: Machine) -> None:
    assert run(machine, "shm", "df", "-k", "/dev/shm").split("\n")[1].split()[1] == "3072"
    assert run(machine, "plain", "df", "-k", "/dev/shm").split("\n")[1].split()[1] == "65536"


def test_sysctls_are_set_in_the_containers_namespaces(machine: Machine) -> None:
    assert run(machine, "tuned", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start") == "99\n"
    assert run(machine, "tuned", "cat", "/proc/sys/kernel/msgmax") == "4096\n"


def test_a_sysctl_that_this_kernel_keeps_from_users_of_their_own_is_set_or_refused_with_a_remedy(
    machine: Machine,
) -> None:
    outcomes = machine.apply(machine.image + container("core", sysctls={"net.core.somaxconn": 99}))
    failed = [str(outcome.error) for outcome in outcomes if not outcome.ok]
    if failed:
        assert "spec.sysctls" in failed[0] and "net.core.somaxconn" in failed[0]
        assert "userns_mode: host" in failed[0]
        machine.converge(machine.image + container("core", userns_mode="host", sysctls={"net.core.somaxconn": 99}))
    assert run(machine, "core", "cat", "/proc/sys/net/core/somaxconn") == "99\n"


def test_a_sysctl_of_a_link_is_set_when_the_link_is_there(machine: Machine) -> None:
    assert run(machine, "tuned-link", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding") == "1\n"


def test_resource_limits_hold(machine: Machine) -> None:
    limits = Path(f"/proc/{workload(machine, 'limited')}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["100", "200"]
    assert run(machine, "limited", "sh", "-c", "ulimit -n; ulimit -c") == "100\n0\n"


def test_a_resource_limit_above_the_engines_is_told_plainly(machine: Machine) -> None:
    if "SYS_RESOURCE" in held_by_us():
        missing("a machine that forbids raising hard limits")
    text = machine.image + container("greedy", ulimits={"memlock": 2**40})
    said = refusal(machine, text)
    assert "spec.ulimits: the hard limit of memlock cannot be raised to" in said
    assert "at most" in said
