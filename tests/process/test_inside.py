"""What a container is from inside: asked by a shell within it, not by looking at what we asked the kernel for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.kernel import capabilities
from runtime.process import client
from tests.process.bundles import HOST_ID, IDS, in_host_users, specification, status_fields
from tests.process.conftest import Box

pytestmark = pytest.mark.kernel


@pytest.mark.vm
def test_root_inside_is_nobody_outside(box: Box) -> None:
    text = box.shell("cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c '%u %g' /bin/busybox; touch /made")
    maps, groups, uid, owner = text.splitlines()
    assert maps.split() == groups.split() == ["0", str(HOST_ID), str(IDS)]
    assert uid == "0"
    assert owner == "0 0"
    made = (box.layout.container("one") / "upper/made").stat()
    assert (made.st_uid, made.st_gid) == (0, 0)


def test_many_ranges_of_ids_are_mapped(box: Box) -> None:
    spec = specification("cat", "/proc/self/uid_map")
    ranges = [{"containerID": number, "hostID": HOST_ID + 2 * number, "size": 1} for number in range(200)]
    spec["linux"]["uidMappings"] = ranges
    _, text = box.run(spec)
    assert [int(line.split()[1]) for line in text.splitlines()] == [HOST_ID + 2 * number for number in range(200)]


@pytest.mark.vm
def test_capabilities_are_the_ones_asked_for(box: Box) -> None:
    fields = status_fields(box.shell("cat /proc/self/status"))
    wanted = sum(1 << capabilities.NUMBERS[name] for name in capabilities.DEFAULT)
    assert [int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")] == [wanted] * 3
    assert int(fields["CapInh"], 16) == int(fields["CapAmb"], 16) == 0


def test_another_user_has_no_capabilities_but_ambient_ones(box: Box) -> None:
    caps = {
        "bounding": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_NET_BIND_SERVICE"],
        "inheritable": ["CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_NET_BIND_SERVICE"],
        "ambient": ["CAP_NET_BIND_SERVICE"],
    }
    user = {"uid": 1000, "gid": 1001, "additionalGids": [7, 9]}
    fields = status_fields(box.shell("cat /proc/self/status", user=user, capabilities=caps))
    bind = 1 << capabilities.NUMBERS["CAP_NET_BIND_SERVICE"]
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {bind}
    assert int(fields["CapBnd"], 16) == bind | 1
    assert fields["Uid"].split() == ["1000"] * 4
    assert fields["Gid"].split() == ["1001"] * 4
    assert fields["Groups"].split() == ["7", "9"]


@pytest.mark.parametrize("no_new_privs", [False, True])
def test_seccomp_filters_with_and_without_no_new_privileges(box: Box, no_new_privs: bool) -> None:
    script = "cat /proc/self/status; unshare -m true 2>&1 || echo refused"
    text = box.shell(script, noNewPrivileges=no_new_privs)
    fields = status_fields(text)
    assert fields["Seccomp"] == "2"
    assert fields["NoNewPrivs"] == str(int(no_new_privs))
    assert "refused" in text.splitlines()


def test_without_a_profile_nothing_is_filtered(box: Box) -> None:
    spec = specification("grep", "Seccomp:", "/proc/self/status")
    del spec["linux"]["seccomp"]
    assert box.run(spec)[1].split() == ["Seccomp:", "0"]


def test_limits_of_resources_are_set(box: Box) -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    assert box.shell("ulimit -Sn; ulimit -Hn; ulimit -Hc", rlimits=limits).split() == ["100", "200", "0"]


@pytest.mark.vm
def test_masked_paths_show_nothing_and_read_only_ones_take_nothing(box: Box) -> None:
    text = box.shell(
        "wc -c < /proc/keys; ls -A /sys/firmware | wc -l;"
        "for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/x;"
        " do (echo x > $path) 2>&1 || true; done"
    )
    lines = text.splitlines()
    assert lines[:2] == ["0", "0"]
    assert len([line for line in lines if "Read-only" in line or "denied" in line or "nonexistent" in line]) == 3


def test_names_belong_to_the_container(box: Box) -> None:
    spec = specification("sh", "-c", "hostname; cat /proc/sys/kernel/domainname")
    spec["domainname"] = "example.org"
    assert box.run(spec)[1].split() == ["box", "example.org"]


def test_processes_devices_links_and_networks_are_its_own(box: Box) -> None:
    text = box.shell("echo $$; ls /proc | grep -c '^[0-9]'; ip -o link | wc -l; cat /sys/class/net/lo/operstate")
    pid, processes, links, _ = text.split()
    assert pid == "1"
    assert int(processes) <= 4
    assert links == "1"


def test_loopback_is_up(box: Box) -> None:
    assert "LOOPBACK,UP" in box.shell("ip -o link show lo")


@pytest.mark.vm
@pytest.mark.parametrize("own_users", [True, False])
def test_devices_work_and_no_others_do(box: Box, own_users: bool) -> None:
    script = (
        "echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c;"
        "readlink /dev/fd; readlink /dev/ptmx;"
        "stat -c %t:%T /dev/null /dev/tty;"
        "(mknod /dev/host b 254 0 && cat /dev/host) > /dev/null 2>&1 || echo no disk"
    )
    spec = specification("sh", "-c", script)
    record, text = box.run(spec if own_users else in_host_users(spec))
    assert record.exit_code == 0
    assert text.splitlines() == ["4", "4", "/proc/self/fd", "pts/ptmx", "1:3", "5:0", "no disk"]


def test_without_a_user_namespace_root_is_root(box: Box) -> None:
    spec = in_host_users(specification("sh", "-c", "cat /proc/self/uid_map; echo text > /file"))
    assert box.run(spec)[1].split() == ["0", "0", "4294967295"]
    assert (box.layout.container("one") / "upper/file").read_text() == "text\n"


def test_standard_mounts_have_their_options(box: Box) -> None:
    text = box.shell("cat /proc/self/mountinfo")
    options = {fields[4]: set(fields[5].split(",")) for fields in map(str.split, text.splitlines())}
    assert {"nosuid", "nodev", "noexec"} <= options["/proc"]
    assert {"nosuid", "nodev", "noexec"} <= options["/dev/shm"]
    assert "nosuid" in options["/dev"]
    assert "ro" in options["/sys"]
    assert "ro" in options["/sys/fs/cgroup"]
    assert options["/dev/mqueue"]
    sources = {fields[4]: fields[3] for fields in map(str.split, text.splitlines())}
    assert not any("/trimtab-" in source for source in sources.values())


@pytest.mark.vm
@pytest.mark.parametrize("own_users", [True, False])
def test_nothing_of_the_hosts_tree_is_left_under_or_over_the_root(box: Box, own_users: bool) -> None:
    spec = specification("sleep", "600")
    box.begin("one", spec if own_users else in_host_users(spec))
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    mounts = [line.split() for line in Path(f"/proc/{seen.pid}/mountinfo").read_text().splitlines()]
    assert [fields[fields.index("-") + 1] for fields in mounts if fields[4] == "/"] == ["overlay"]
    known = {"overlay", "proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2"}
    assert {fields[fields.index("-") + 1] for fields in mounts} <= known
    assert all(fields[4].split("/")[1] in {"", "proc", "sys", "dev"} for fields in mounts)


@pytest.mark.vm
def test_its_cgroups_show_as_roots(box: Box) -> None:
    lines = box.shell("cat /proc/self/cgroup").splitlines()
    own = [line for line in lines if re.search(":(pids|memory|):/", line)]
    assert own
    assert all(line.endswith(":/") for line in own)


def test_no_cgroup_of_anybody_else_shows(box: Box) -> None:
    named = box.shell("find /sys/fs/cgroup -mindepth 2 -type d; find /sys/fs/cgroup -name release_agent")
    assert named == "", named


@pytest.mark.vm
def test_a_cgroup_limit_can_be_read_inside(box: Box) -> None:
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    assert box.shell(script).strip() == str(64 << 20)


def test_working_directory_and_mask_are_set(box: Box) -> None:
    user = {"uid": 0, "gid": 0, "umask": 0o027}
    assert box.shell("pwd; umask", cwd="/made/for/it", user=user).split() == ["/made/for/it", "0027"]


def test_home_comes_from_passwd_and_yields_to_the_environment(box: Box) -> None:
    assert box.shell("echo $HOME") == "/root\n"
    assert box.shell("echo $HOME", name="two", env=["PATH=/bin", "HOME=/elsewhere"]) == "/elsewhere\n"
    assert box.shell("echo $HOME", name="three", user={"uid": 4242, "gid": 0}) == "/\n"


def test_a_read_only_root_takes_nothing(box: Box) -> None:
    spec = specification("sh", "-c", "touch /x 2>&1; touch /dev/shm/y && echo shm")
    spec["root"]["readonly"] = True
    text = box.run(spec)[1]
    assert "Read-only file system" in text
    assert "shm" in text.splitlines()


@pytest.mark.vm
def test_sysctls_of_its_namespaces_are_set(box: Box) -> None:
    spec = specification("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/msgmax")
    spec["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "65000"}
    assert box.run(spec)[1].split() == ["0", "65000"]


def test_standard_streams_can_be_opened_again(box: Box) -> None:
    text = box.shell("echo one > /dev/stdout; echo two > /dev/stderr", user={"uid": 1000, "gid": 1000})
    assert sorted(text.split()) == ["one", "two"]


def test_the_environment_is_exactly_the_one_given(box: Box) -> None:
    record, text = box.run(specification("env", env=["PATH=/bin", "A=b=c", "EMPTY="]))
    assert record.exit_code == 0
    assert sorted(text.splitlines()) == ["A=b=c", "EMPTY=", "HOME=/root", "PATH=/bin"]


def test_no_signal_is_ignored_or_blocked(box: Box) -> None:
    record, text = box.run(specification("grep", "Sig", "/proc/self/status"))
    assert record.exit_code == 0
    fields = status_fields(text)
    assert int(fields["SigIgn"], 16) == int(fields["SigBlk"], 16) == 0


def test_no_descriptor_but_the_standard_streams_is_open(box: Box) -> None:
    text = box.shell("ls -l /proc/$$/fd")
    open_now = {line.split()[-3] for line in text.splitlines() if "->" in line}
    assert open_now == {"0", "1", "2"}


def test_an_init_of_ours_reaps_orphans_and_forwards_signals(box: Box) -> None:
    script = (
        "(sleep 0.05 & exec true); sleep 0.2; ps -o stat,args | grep -c '^Z' || true; cat /proc/1/comm;"
        'trap "echo got; exit 5" TERM; kill -TERM 1; while :; do sleep 0.02; done'
    )
    spec = specification("sh", "-c", script)
    spec["annotations"]["trimtab/init"] = "true"
    record, text = box.run(spec)
    lines = text.splitlines()
    assert lines[0] == "0"
    assert "got" in lines
    assert record.exit_code == 5


def test_without_such_an_init_the_program_is_the_first_process(box: Box) -> None:
    assert box.shell("readlink /proc/1/exe") == "/bin/busybox\n"


def test_io_priority_and_oom_score_are_set(box: Box) -> None:
    text = box.shell(
        "ionice -p $$; cat /proc/self/oom_score_adj", ioPriority={"class": "IOPRIO_CLASS_IDLE"}, oomScoreAdj=500
    )
    assert "idle" in text
    assert text.splitlines()[-1] == "500"


def test_no_container_ever_sees_the_hosts_tree(box: Box) -> None:
    """Fifteen in a row: an init that waited has let go of the host's mounts, and its root is the only one."""
    for number in range(15):
        name = f"box{number}"
        box.begin(name, specification("sleep", "100"))
        process = client.read_process(box.layout, name)
        assert process is not None
        roots = [line.split()[4:5] for line in Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()]
        assert roots.count(["/"]) == 1
        assert {path.name for path in Path(f"/proc/{process.pid}/root").iterdir()} <= {
            *(path.name for path in box.tree.iterdir()),
            *("dev", "proc", "sys"),
        }
        client.delete(box.layout, name, force=True)
