"""The OCI runtime's command line, as another engine would use it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SLOWER, cgroup_directories
from tests.process.bundles import in_host_users, specification

pytestmark = pytest.mark.kernel

FACE = str(Path(__file__).parents[2] / "runtime/process/oci.py")


class Face:
    """Runs `trimtab-oci` on a root of its own, with one bundle."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.root = root
        self.bundle = bundle

    def write(self, spec: dict[str, Any]) -> None:
        spec["linux"]["cgroupsPath"] = f"/trimtab-test-{os.getpid()}/one"
        (self.bundle / "config.json").write_text(json.dumps(spec))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-S", "-I", FACE, "--root", str(self.root), *arguments]

    def __call__(self, *arguments: str, check: bool = True, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a verb. By way of files: a container keeps its streams, and waiting for a pipe's end would be for it."""
        with (
            tempfile.TemporaryFile("w+") as stdin,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            stdin.write(given)
            stdin.seek(0)
            command = self.command(*arguments)
            code = subprocess.run(
                command, stdin=stdin, stdout=out, stderr=err, timeout=60, check=False, cwd=self.bundle
            ).returncode
            out.seek(0)
            err.seek(0)
            done = subprocess.CompletedProcess(command, code, out.read(), err.read())
        assert not check or done.returncode == 0, done
        return done

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self("state", "one").stdout)
        return state


@pytest.fixture
def face(tmp_path: Path, busybox_tree: Path) -> Iterator[Face]:
    bundle = tmp_path / "bundle"
    shutil.copytree(busybox_tree, bundle / "rootfs", symlinks=True)
    made = Face(tmp_path / "run", bundle)
    try:
        yield made
    finally:
        made("delete", "--force", "one", check=False)
        for path in cgroup_directories(f"trimtab-test-{os.getpid()}"):
            path.rmdir()


def plain(*arguments: str, **process: Any) -> dict[str, Any]:
    """A container on a plain directory, in the host's users."""
    return in_host_users(specification(*arguments, **process))


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds * SLOWER
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_run_passes_streams_and_the_exit_code(face: Face) -> None:
    face.write(plain("sh", "-c", "cat; echo err >&2; exit 3"))
    done = face("run", "one", check=False, given="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "in\n", "err\n")
    assert face("list", "-q").stdout.strip() == ""


def test_a_life_by_the_verbs(face: Face) -> None:
    face.write(plain("sleep", "600"))
    pid_file = face.bundle / "pid"
    face("create", "--bundle", str(face.bundle), "--pid-file", str(pid_file), "one")
    state = face.state()
    assert (state["id"], state["status"], state["bundle"]) == ("one", "created", str(face.bundle))
    assert state["pid"] == int(pid_file.read_text())
    face("start", "one")
    assert face.state()["status"] == "running"
    face("pause", "one")
    assert face.state()["status"] == "paused"
    face("resume", "one")
    assert face("delete", "one", check=False).returncode == 1
    face("kill", "one", "KILL")
    wait_until(lambda: face.state()["status"] == "stopped")
    assert face("kill", "one", "TERM", check=False).stderr.strip().endswith("container not running")
    face("delete", "one")
    assert "does not exist" in face("state", "one", check=False).stderr


def test_init_is_the_callers_descendant_and_nothing_keeps_its_streams(face: Face) -> None:
    """As conmon and containerd's shims need it: they reap init, and wait for the end of its output."""
    face.write(plain("sh", "-c", "echo out; exit 9"))
    subreaper = (
        "import ctypes, os, subprocess, sys\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "reader, writer = os.pipe()\n"
        "command = sys.argv[1:]\n"
        "assert subprocess.run([*command, 'create', '--pid-file', 'pid', 'one'], stdout=writer).returncode == 0\n"
        "os.close(writer)\n"
        "assert subprocess.run([*command, 'start', 'one']).returncode == 0\n"
        "said = b''.join(iter(lambda: os.read(reader, 100), b''))\n"
        "_, status = os.waitpid(int(open('pid').read()), 0)\n"
        "print(said.decode().strip(), os.waitstatus_to_exitcode(status))\n"
    )
    arguments = [sys.executable, "-c", subreaper, *face.command()]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, cwd=face.bundle)
    assert (done.returncode, done.stdout) == (0, "out 9\n"), done.stderr
    wait_until(lambda: face.state()["status"] == "stopped")


def test_exec_with_flags_and_with_a_file(face: Face) -> None:
    face.write(plain("sleep", "600"))
    face("run", "--detach", "one")
    done = face(
        "exec",
        "--env",
        "A=b",
        "--cwd",
        "/tmp",
        "--user",
        "7:8",
        "one",
        "sh",
        "-c",
        "echo $A; pwd; id -u; id -g; exit 5",
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (5, ["b", "/tmp", "7", "8"])
    process = {"args": ["echo", "from file"], "cwd": "/", "env": ["PATH=/bin"]}
    (face.bundle / "process.json").write_text(json.dumps(process))
    assert face("exec", "--process", "process.json", "one").stdout == "from file\n"
    assert face("exec", "one", "gone", check=False).returncode == 127
    face("exec", "--detach", "--pid-file", "exec.pid", "one", "sleep", "601")
    pids = json.loads(face("ps", "--format", "json", "one").stdout)
    assert int((face.bundle / "exec.pid").read_text()) in pids
    assert len(pids) == 2


def test_a_terminal_goes_to_the_console_socket(face: Face) -> None:
    face.write(plain("sh", "-c", "tty; read line; echo got $line", terminal=True))
    path = face.bundle / "console"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        face("create", "--console-socket", str(path), "one")
        connection, _ = server.accept()
        with connection:
            _, descriptors, _, _ = socket.recv_fds(connection, 100, 1)
    master = descriptors[0]
    face("start", "one")
    os.write(master, b"word\n")
    shown = b""
    while b"got word" not in shown:
        shown += os.read(master, 1000)
    assert b"/dev/pts/0" in shown
    os.close(master)


def test_a_terminal_without_a_console_socket_is_refused(face: Face) -> None:
    face.write(plain("true", terminal=True))
    assert "--console-socket" in face("create", "one", check=False).stderr


def test_descriptors_are_preserved(face: Face) -> None:
    face.write(plain("sh", "-c", "cat <&3; ls /proc/self/fd | wc -l"))
    (face.bundle / "given").write_text("given text\n")
    command = " ".join(face.command("run", "--preserve-fds", "1", "one"))
    done = subprocess.run(
        ["sh", "-c", f"exec {command} 3< given"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=face.bundle,
    )
    assert done.stdout.splitlines()[0] == "given text", done.stderr


def test_hooks_run_at_their_moments_with_the_state(face: Face) -> None:
    spec = plain("sh", "-c", "test -e /made-inside && exit 4")
    out = face.bundle / "hooks"
    script = face.bundle / "hook"
    script.write_text(f'#!/bin/sh\nread -r state; echo "$1 $state" >> {out}\n')
    script.chmod(0o755)
    host = ("prestart", "createRuntime", "poststart", "poststop")
    spec["hooks"] = {kind: [{"path": str(script), "args": ["hook", kind]}] for kind in host}
    inside = {"path": "/bin/busybox", "args": ["touch", "/made-inside"]}
    spec["hooks"]["startContainer"] = [inside]
    spec["hooks"]["createContainer"] = [{"path": str(script), "args": ["hook", "createContainer"]}]
    face.write(spec)
    assert face("run", "one", check=False).returncode == 4
    wait_until(lambda: "poststop" in out.read_text())
    lines = [line.split(" ", 1) for line in out.read_text().splitlines()]
    assert [kind for kind, _ in lines] == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    states = {kind: json.loads(text) for kind, text in lines}
    assert {state["id"] for state in states.values()} == {"one"}
    assert states["createRuntime"]["status"] == "creating"
    assert states["createRuntime"]["pid"] > 1
    assert states["poststart"]["status"] == "running"
    assert states["poststop"]["status"] == "stopped"


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ({"path": "/bin/false"}, "ended with exit code 1"),
        ({"path": "/no/such"}, "ended with exit code 127"),
        ({"path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1}, "still running after 1 s"),
    ],
)
def test_a_hook_that_fails_undoes_the_container(face: Face, hook: dict[str, Any], told: str) -> None:
    spec = plain("true")
    spec["hooks"] = {"createRuntime": [hook]}
    face.write(spec)
    done = face("create", "one", check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "does not exist" in face("state", "one", check=False).stderr


@pytest.mark.vm
def test_limits_are_updated(face: Face) -> None:
    face.write(plain("sleep", "600"))
    face("run", "--detach", "one")
    face("update", "--memory", str(32 << 20), "--pids-limit", "33", "one")
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    assert face("exec", "one", "sh", "-c", script).stdout.strip() == str(32 << 20)
    face("update", "--resources", "-", "one", given='{"memory": {"limit": 67108864}}')
    assert face("exec", "one", "sh", "-c", script).stdout.strip() == str(64 << 20)


def test_errors_are_logged_as_json(face: Face) -> None:
    log = face.bundle / "log"
    assert face("--log", str(log), "--log-format", "json", "start", "ghost", check=False).returncode == 1
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert "does not exist" in entry["msg"]


def test_what_is_not_supported_is_refused(face: Face) -> None:
    assert "systemd" in face("--systemd-cgroup", "list", check=False).stderr
    assert "no container id" in face("state", "../x", check=False).stderr
    assert "no signal" in run_and(face, "kill", "one", "NONSENSE").stderr


def run_and(face: Face, *arguments: str) -> subprocess.CompletedProcess[str]:
    face.write(plain("sleep", "600"))
    face("run", "--detach", "one")
    return face(*arguments, check=False)


def test_a_second_container_of_a_name_is_refused(face: Face) -> None:
    assert "exists already" in run_and(face, "create", "one").stderr
    assert face.state()["status"] == "running"


def test_the_example_specification_runs(face: Face) -> None:
    face("spec")
    spec = json.loads((face.bundle / "config.json").read_text())
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["echo", "ready"]
    face.write(spec)
    assert face("run", "one").stdout == "ready\n"
    assert face("spec", check=False).returncode == 1


def test_features_name_what_this_runtime_knows(face: Face) -> None:
    known = json.loads(face("features").stdout)
    assert known["ociVersionMax"] == "1.3.0"
    assert "rro" in known["mountOptions"]
    assert "user" in known["linux"]["namespaces"]
    assert known["linux"]["seccomp"]["enabled"] is True
    assert "trimtab-oci" in face("--version").stdout


@pytest.mark.slow
def test_podman_runs_containers_with_this_runtime(tmp_path: Path, busybox_tree: Path) -> None:
    podman = shutil.which("podman")
    if podman is None:
        pytest.skip("podman is not installed")
    # podman wants short paths
    short = Path(tempfile.mkdtemp(prefix="ttp-", dir="/tmp"))
    wrapper = tmp_path / "trimtab-oci"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I {FACE} "$@"\n')
    wrapper.chmod(0o755)
    base = [podman, "--root", str(short / "root"), "--runroot", str(short / "run"), "--storage-driver", "vfs"]
    base += ["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", str(wrapper)]
    limits = ["--network", "none", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*base, *arguments], capture_output=True, text=True, timeout=100, check=False)

    try:
        tree = tmp_path / "tree.tar"
        subprocess.run(["tar", "-C", busybox_tree, "-cf", tree, "."], check=True)
        assert call("import", str(tree), "box:1").returncode == 0
        done = call("run", "--rm", *limits, "box:1", "sh", "-c", "echo hello; exit 4")
        assert (done.returncode, done.stdout) == (4, "hello\n"), done.stderr
        assert call("run", "-d", "--name", "one", *limits, "box:1", "sleep", "600").returncode == 0
        assert call("exec", "one", "sh", "-c", "exit 7").returncode == 7
        assert call("stop", "-t", "0", "one").returncode == 0
    finally:
        call("rm", "-af")
        call("rmi", "-af")
        shutil.rmtree(short, ignore_errors=True)
