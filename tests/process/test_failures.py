"""What cannot work says which step failed, about which path and why, and leaves nothing behind."""

from __future__ import annotations

import shutil
import signal
from typing import Any

import pytest

from runtime.kernel import mount
from runtime.process import client
from runtime.process.failure import ProcessFailed
from runtime.process.records import Phase
from tests.conftest import cgroup_directories
from tests.process.bundles import in_host_users, specification
from tests.process.conftest import Box
from tests.process.test_birth import until

pytestmark = pytest.mark.kernel


def failure_to_create(box: Box, spec: dict[str, Any]) -> ProcessFailed:
    box.write("one", spec)
    with pytest.raises(ProcessFailed) as caught:
        client.create(box.layout, "one")
    assert client.read_process(box.layout, "one") is None
    assert not box.layout.live("one").exists()
    assert cgroup_directories(box.layout.cgroup("one")) == []
    return caught.value


def failure_to_start(box: Box, spec: dict[str, Any]) -> ProcessFailed:
    box.write("one", spec)
    client.create(box.layout, "one")
    with pytest.raises(ProcessFailed) as caught:
        client.start(box.layout, "one")
    record = client.wait(box.layout, "one", 10)
    assert record.exit_code == caught.value.exit_code
    assert record.error == str(caught.value)
    assert record.started_at is None
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    assert seen.phase is Phase.EXITED
    return caught.value


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["nothing-of-this-name"], 'exec: "nothing-of-this-name": not found', 127),
        (["/no/such/file"], 'exec: "/no/such/file": not found', 127),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied', 126),
        (["/etc"], 'exec: "/etc": permission denied', 126),
        ([""], 'exec: "": not found', 127),
    ],
)
def test_a_program_that_cannot_run(box: Box, arguments: list[str], message: str, code: int) -> None:
    failure = failure_to_start(box, specification(*arguments))
    assert (failure.message, failure.exit_code, failure.step) == (message, code, "exec")


def test_a_file_that_is_no_program(box: Box) -> None:
    bundle = box.write("one", specification("true"))
    (bundle / "upper/text").write_text("just text")
    (bundle / "upper/text").chmod(0o755)
    failure = failure_to_start(box, specification("/text"))
    assert (failure.message, failure.exit_code) == ('exec: "/text": exec format error', 126)


def test_a_working_directory_that_is_a_file(box: Box) -> None:
    failure = failure_to_create(box, specification("true", cwd="/etc/passwd"))
    assert (failure.step, failure.path, failure.errno) == ("cwd", "/etc/passwd", 20)


def test_a_working_directory_the_user_may_not_enter(box: Box) -> None:
    bundle = box.write("one", specification("true"))
    (bundle / "upper/closed").mkdir(mode=0o700)
    spec = specification("pwd", cwd="/closed", user={"uid": 1000, "gid": 1000})
    # root of the container enters it for the program, as other runtimes do
    record, text = box.run(spec)
    assert record.exit_code == 0, text


def test_a_user_that_is_not_mapped(box: Box) -> None:
    failure = failure_to_start(box, specification("true", user={"uid": 100_000, "gid": 0}))
    assert (failure.step, failure.path, failure.errno) == ("user", "100000:0", 22)


def test_a_capability_that_does_not_exist(box: Box) -> None:
    failure = failure_to_start(box, specification("true", capabilities={"permitted": ["CAP_FLY"]}))
    assert failure.step == "capabilities"
    assert "CAP_FLY" in failure.message


def test_a_limit_of_resources_that_does_not_exist(box: Box) -> None:
    failure = failure_to_create(box, specification("true", rlimits=[{"type": "RLIMIT_JOY", "soft": 1, "hard": 1}]))
    assert failure.step == "rlimits"
    assert "RLIMIT_JOY" in failure.message


@pytest.mark.vm
def test_a_limit_the_cgroup_does_not_know(box: Box) -> None:
    spec = specification("true")
    spec["linux"]["resources"]["joy"] = {"limit": 1}
    failure = failure_to_create(box, spec)
    assert failure.step == "cgroup"
    assert "joy" in failure.message


def test_a_seccomp_action_that_does_not_exist(box: Box) -> None:
    spec = specification("true")
    spec["linux"]["seccomp"]["defaultAction"] = "SCMP_ACT_SMILE"
    failure = failure_to_create(box, spec)
    assert failure.step == "seccomp"
    assert "SCMP_ACT_SMILE" in failure.message


def test_a_device_the_host_does_not_have(box: Box) -> None:
    spec = specification("true")
    spec["linux"]["devices"] = [{"path": "/dev/none", "type": "c", "major": 250, "minor": 250}]
    failure = failure_to_create(box, spec)
    assert (failure.step, failure.path) == ("device", "/dev/none")


@pytest.mark.vm
def test_layers_on_a_file_system_that_cannot_be_mapped_are_told_by_its_name(box: Box) -> None:
    box.layout.root.mkdir(exist_ok=True)
    mount.mount("ramfs", str(box.layout.root), "ramfs")
    failure = failure_to_create(box, specification("true"))
    assert (failure.step, failure.path) == ("id map", str(box.layout.container("one")))
    assert failure.message == "this kernel cannot id-map ramfs"
    record, _ = box.run(in_host_users(specification("true")))
    assert record.exit_code == 0


def test_a_sysctl_that_is_not_the_containers(box: Box) -> None:
    spec = specification("true")
    spec["linux"]["sysctl"] = {"vm.swappiness": "1"}
    failure = failure_to_create(box, spec)
    assert (failure.step, failure.path) == ("sysctl", "vm.swappiness")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not an OCI specification"),
        ("[]", "not an OCI specification"),
        ('{"ociVersion": "2.0.0"}', "2.0.0 is not 1.x"),
        (
            '{"ociVersion": "1.0.0", "root": {"path": "r"}, "process": {"args": [], "cwd": "/"}}',
            "process.args is empty",
        ),
        (
            '{"ociVersion": "1.0.0", "root": {"path": "r"}, "process": {"args": ["a"], "cwd": "x"}}',
            "cwd x is not absolute",
        ),
    ],
)
def test_a_specification_that_is_none(box: Box, text: str, told: str) -> None:
    bundle = box.write("one", specification("true"))
    (bundle / "config.json").write_text(text)
    with pytest.raises(ProcessFailed, match=told):
        client.create(box.layout, "one")


def test_a_bundle_that_is_not_there(box: Box) -> None:
    with pytest.raises(ProcessFailed) as caught:
        client.create(box.layout, "ghost")
    assert (caught.value.step, caught.value.errno) == ("read", 2)
    assert caught.value.path == str(box.layout.container("ghost") / "config.json")


def test_a_name_that_runs_already(box: Box) -> None:
    box.begin("one", specification("sleep", "60"))
    with pytest.raises(ProcessFailed, match="exists already"):
        client.create(box.layout, "one")
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    assert seen.phase is Phase.RUNNING


def test_a_bundle_removed_under_a_container_is_told_in_one_line(box: Box) -> None:
    box.write("one", specification("sleep", "1000000"))
    client.create(box.layout, "one")
    client.start(box.layout, "one")
    shutil.rmtree(box.layout.container("one"))
    client.kill(box.layout, "one", signal.SIGKILL)
    log = box.layout.run / "launcher.sock.log"
    until(lambda: "container one:" in log.read_text())
    (line,) = log.read_text().splitlines()
    assert line.endswith(
        "container one: ended with signal 9, which cannot be written down: "
        f"No such file or directory: {box.layout.container('one')}"
    )
    client.delete(box.layout, "one", force=True)
