"""One more process in a running container: where it is, what it gets, and what comes back."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel import capabilities
from runtime.process import client
from runtime.process.failure import NotRunning, ProcessFailed
from tests.process.bundles import HOST_ID, specification, status_fields
from tests.process.conftest import Box

pytestmark = pytest.mark.kernel


@pytest.fixture
def running(box: Box) -> Box:
    """A box with a container `one` that sleeps."""
    box.begin("one", specification("sleep", "600"))
    return box


def command(script: str, **process: Any) -> dict[str, Any]:
    caps = sorted(capabilities.DEFAULT)
    return {
        "args": ["sh", "-c", script],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": caps, "permitted": caps, "effective": caps},
        **process,
    }


def enter(box: Box, process: dict[str, Any], given: bytes = b"") -> tuple[int, str, str]:
    """Exit code and both streams of an exec, by way of files: what a caller may have for standard streams."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(given)
        stdin.seek(0)
        code = client.exec_(box.layout, "one", process, stdin.fileno(), stdout.fileno(), stderr.fileno())
        stdout.seek(0)
        stderr.seek(0)
        return code, stdout.read().decode(), stderr.read().decode()


def test_streams_and_exit_code_come_back(running: Box) -> None:
    assert enter(running, command("cat; echo err >&2; exit 7"), b"in\n") == (7, "in\n", "err\n")


def test_a_signal_shows_in_the_exit_code(running: Box) -> None:
    assert enter(running, command("kill -KILL $$"))[0] == 137


def test_much_input_and_output_passes(running: Box) -> None:
    data = os.urandom(3 << 20)
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
        stdin.write(data)
        stdin.seek(0)
        assert client.exec_(running.layout, "one", command("cat"), stdin.fileno(), stdout.fileno(), 2) == 0
        stdout.seek(0)
        assert stdout.read() == data


def test_pipes_are_handed_over(running: Box) -> None:
    reader, writer = os.pipe()
    try:
        with Path(os.devnull).open("rb") as null:
            assert client.exec_(running.layout, "one", command("echo direct"), null.fileno(), writer, writer) == 0
        assert os.read(reader, 100) == b"direct\n"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.vm
def test_it_is_in_every_namespace_and_the_cgroup_of_the_container(running: Box) -> None:
    script = "for n in /proc/$$/ns/*; do case $n in *_for_*) ;; *) readlink $n;; esac; done; cat /proc/$$/cgroup"
    seen = client.read_process(running.layout, "one")
    assert seen is not None
    namespaces = Path(f"/proc/{seen.pid}/ns")
    of_init = [str(entry.readlink()) for entry in sorted(namespaces.iterdir()) if "_for_" not in entry.name]
    lines = enter(running, command(script))[1].splitlines()
    assert [line for line in lines if "[" in line] == of_init
    assert all(line.endswith(":/") for line in lines if ":pids:" in line or line.startswith("0::"))


def test_it_gets_its_own_user_environment_and_directory(running: Box) -> None:
    process = command(
        "id -u; id -G; pwd; echo $A $HOME; umask",
        user={"uid": 1000, "gid": 1000, "additionalGids": [5], "umask": 0o077},
        env=["PATH=/bin", "A=b"],
        cwd="/tmp",
        capabilities={},
    )
    assert enter(running, process)[1].split() == ["1000", "1000", "5", "/tmp", "b", "/", "0077"]


@pytest.mark.vm
def test_it_is_confined_as_the_container_is(running: Box) -> None:
    fields = status_fields(enter(running, {**command(""), "args": ["cat", "/proc/self/status"]})[1])
    wanted = sum(1 << capabilities.NUMBERS[name] for name in capabilities.DEFAULT)
    assert fields["Seccomp"] == "2"
    assert [int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")] == [wanted] * 3
    assert int(fields["SigIgn"], 16) == 0


def test_limits_of_resources_are_its_own(running: Box) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]
    assert enter(running, command("ulimit -Sn; ulimit -Hn", rlimits=limits))[1].split() == ["50", "60"]


def test_nothing_of_the_host_is_open_in_it(running: Box) -> None:
    text = enter(running, command("ls -l /proc/$$/fd"))[1]
    assert {line.split()[-3] for line in text.splitlines() if "->" in line} == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("process", "code", "message"),
    [
        ({"args": ["gone"]}, 127, 'exec: "gone": not found'),
        ({"args": ["/etc/passwd"]}, 126, 'exec: "/etc/passwd": permission denied'),
        ({"cwd": "/nowhere"}, 1, "No such file or directory"),
        ({"user": {"uid": 99_999_999, "gid": 0}}, 1, "Invalid argument"),
    ],
)
def test_what_cannot_run_is_told(running: Box, process: dict[str, Any], code: int, message: str) -> None:
    with pytest.raises(ProcessFailed) as caught:
        enter(running, {**command(""), **process})
    assert (caught.value.exit_code, caught.value.message) == (code, message)


def test_only_a_running_container_can_be_entered(box: Box) -> None:
    box.write("one", specification("sleep", "600"))
    client.create(box.layout, "one")
    with pytest.raises(ProcessFailed, match="cannot exec: it is created"):
        enter(box, command("true"))
    client.start(box.layout, "one")
    client.pause(box.layout, "one")
    with pytest.raises(ProcessFailed, match="cannot exec: it is paused"):
        enter(box, command("true"))
    client.delete(box.layout, "one", force=True)
    with pytest.raises(NotRunning):
        enter(box, command("true"))


@pytest.mark.vm
def test_it_dies_with_the_container(running: Box) -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(enter(running, command("touch /up; sleep 600"))[0]))
    thread.start()
    up = running.layout.container("one") / "upper/up"
    while not up.exists():
        assert thread.is_alive()
    client.delete(running.layout, "one", force=True)
    thread.join(10)
    assert codes in ([137], [])


def test_several_at_once_do_not_mix(running: Box) -> None:
    results: dict[int, tuple[int, str, str]] = {}

    def one(number: int) -> None:
        results[number] = enter(running, command(f"cat; exit {number}"), f"{number}\n".encode())

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == {number: (number, f"{number}\n", "") for number in range(8)}


def test_a_big_environment_passes(running: Box) -> None:
    env = ["PATH=/bin", *(f"V{number}={'x' * 1000}" for number in range(150))]
    assert enter(running, command("env | grep -c ^V", env=env))[1] == "150\n"


def test_whoever_is_inside_cannot_look_into_the_one_who_comes_in(box: Box) -> None:
    """CVE-2016-9962, CVE-2019-5736: before its execve, the newcomer's entries in /proc are closed to all inside."""
    watch = (
        "echo up; while [ ! -e /stop ]; do for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in"
        " trimtab*|python*) echo seen; ls -l $p/fd $p/exe $p/root 2>/dev/null | grep -- '->'; esac; done; done"
    )
    box.begin("one", specification("sh", "-c", watch))
    for _ in range(12):
        assert enter(box, command("true"))[0] == 0
    enter(box, command("touch /stop"))
    client.wait(box.layout, "one", 30)
    # what shows after its execve is the container's own: pipes and busybox
    assert not [word for word in ("python", "socket", "anon_inode", "/work") if word in box.output("one")]


@pytest.mark.vm
def test_the_container_user_is_the_host_user_of_its_maps(running: Box) -> None:
    enter(running, command("sleep 0.01; touch /tmp/x", user={"uid": 7, "gid": 7}, capabilities={}))
    assert (running.layout.container("one") / "upper/tmp/x").stat().st_uid == 7
    seen = client.read_process(running.layout, "one")
    assert seen is not None
    assert Path(f"/proc/{seen.pid}").stat().st_uid == HOST_ID
