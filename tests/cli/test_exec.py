"""`trimtab exec`: a process like the container's own, on our streams, its exit code ours."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from reconciler.cli.executing import Errand, process_of
from tests.cli.engine import Engine, plain_environment
from tests.cli.test_logs import until

kernel = pytest.mark.kernel

CONFIG = {
    "process": {
        "args": ["httpd"],
        "env": ["PATH=/bin", "A=1"],
        "cwd": "/srv",
        "user": {"uid": 5, "gid": 5},
        "capabilities": {"bounding": ["CAP_CHOWN"], "effective": []},
        "noNewPrivileges": True,
    },
    "annotations": {"trimtab/rootfs": '{"lower": [], "upper": "/nonexistent"}'},
}


def test_the_process_is_the_containers_own_but_for_what_is_asked_for() -> None:
    made = process_of(
        CONFIG, Errand(("sh",), environment=("B=2", "A=3", "HOME", "NONE")), {"HOME": "/h"}, terminal=False
    )
    assert made["args"] == ["sh"]
    assert made["env"] == ["PATH=/bin", "A=3", "B=2", "HOME=/h"]
    assert (made["cwd"], made["user"], made["noNewPrivileges"]) == ("/srv", {"uid": 5, "gid": 5}, True)


def test_root_gets_the_bounding_capabilities_and_nobody_else_any() -> None:
    root = process_of(CONFIG, Errand(("sh",), user="0"), {}, terminal=False)
    assert root["capabilities"]["effective"] == ["CAP_CHOWN"]
    other = process_of(CONFIG, Errand(("sh",), user="7:8"), {}, terminal=False)
    assert other["user"] == {"uid": 7, "gid": 8, "additionalGids": []}
    assert other["capabilities"]["effective"] == []
    assert other["capabilities"]["bounding"] == ["CAP_CHOWN"]


def test_a_terminal_passes_our_kind_of_terminal_on() -> None:
    made = process_of(CONFIG, Errand(("sh",)), {"TERM": "xterm-kitty"}, terminal=True)
    assert "TERM=xterm-kitty" in made["env"]
    assert made["terminal"] is True


@kernel
def test_streams_and_exit_code_are_passed_on(shop: Engine) -> None:
    said = shop.run("exec", "db", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (said.code, said.out, said.err) == (7, "out\n", "err\n")


@kernel
def test_a_signal_is_told_as_a_shell_does(shop: Engine) -> None:
    assert shop.run("exec", "db", "sh", "-c", "kill -9 $$").code == 137


@kernel
def test_input_is_passed_on_only_when_asked_for(shop: Engine) -> None:
    assert shop.run("exec", "-i", "db", "cat", stdin=b"given\n").out == "given\n"
    assert shop.run("exec", "db", "cat", stdin=b"given\n").out == ""


@kernel
def test_user_environment_and_directory(shop: Engine) -> None:
    said = shop.ok("exec", "-u", "nobody", "-e", "A=b c", "-w", "/tmp", "db", "sh", "-c", "id -u; echo $A; pwd")
    assert said.lines == ["65534", "b c", "/tmp"]


@kernel
def test_a_user_the_image_does_not_have_is_refused(shop: Engine) -> None:
    said = shop.run("exec", "-u", "mallory", "db", "id")
    assert said.code == 2
    assert "the image has no user 'mallory'" in said.err


@kernel
def test_options_behind_the_name_are_the_commands(shop: Engine) -> None:
    assert shop.ok("exec", "db", "echo", "-e", "x").out == "x\n"


@kernel
def test_dashes_before_the_command_are_no_part_of_it(shop: Engine) -> None:
    assert shop.ok("exec", "db", "--", "echo", "-e", "x").out == "x\n"
    assert shop.ok("exec", "--", "db", "echo", "x").out == "x\n"
    assert shop.ok("exec", "db", "echo", "--", "x").out == "-- x\n"
    nothing = shop.run("exec", "db", "--")
    assert nothing.code == 2 and "Missing argument" in nothing.err


@kernel
@pytest.mark.parametrize(("command", "code"), [("nonesuch", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed_is_told_by_code_and_words(shop: Engine, command: str, code: int) -> None:
    said = shop.run("exec", "db", command)
    assert said.code == code
    assert said.err.startswith("trimtab: Container/db exec: ")
    assert "Traceback" not in said.err


@kernel
def test_a_service_means_its_first_replica_that_runs(shop: Engine) -> None:
    assert shop.ok("exec", "web", "hostname").out == "web-1\n"


@kernel
def test_a_container_that_is_not_there_is_refused(shop: Engine) -> None:
    said = shop.run("exec", "dbb", "true")
    assert (said.code, said.err) == (2, "trimtab: there is no Container/dbb; did you mean Container/db?\n")


@kernel
def test_a_detached_process_runs_on_and_its_pid_is_told(shop: Engine) -> None:
    said = shop.ok("exec", "-d", "db", "sh", "-c", "sleep 0.3; echo done > /tmp/done; sleep 100")
    pid = int(said.out)
    assert Path(f"/proc/{pid}").exists()
    until(lambda: shop.run("exec", "db", "cat", "/tmp/done").out == "done\n")
    shop.ok("exec", "db", "sh", "-c", "rm /tmp/done; pkill -f 'sleep 100$'; true")


@kernel
def test_detached_and_a_terminal_exclude_each_other(shop: Engine) -> None:
    assert shop.run("exec", "-d", "-t", "db", "sh").code == 2


@kernel
@pytest.mark.parametrize("name", ["db", "web-1", "web-2"])
def test_a_command_sees_the_containers_root_and_nothing_of_the_host(
    shop: Engine, busybox_tree: Path, name: str
) -> None:
    made = {"dev", "proc", "sys", *(["pages", "run"] if name == "db" else [])}
    allowed = {path.name for path in busybox_tree.iterdir()} | made
    assert set(shop.ok("exec", name, "ls", "-A", "/").lines) <= allowed
    mounts = shop.ok("exec", name, "cat", "/proc/self/mountinfo").lines
    assert [line.split()[3:5] for line in mounts if line.split()[4] == "/"] == [["/", "/"]]


@kernel
def test_a_terminal_must_be_one(shop: Engine) -> None:
    said = shop.run("exec", "-t", "db", "sh")
    assert (said.code, said.err) == (2, "trimtab: exec: standard input is not a terminal; leave out -t\n")


class Terminal:
    """A program on a terminal of the test's own."""

    def __init__(self, command: list[str], rows: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        environment = plain_environment() | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        self.slave = slave
        self.seen = b""
        self.last = b""
        """What came before the text waited for last."""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read_until(self, text: str, seconds: float = 20) -> None:
        """Waits for the text, and forgets what came before it."""
        end = time.monotonic() + seconds
        while text.encode() not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        self.last, self.seen = self.seen.split(text.encode(), 1)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@kernel
def test_a_terminal_is_raw_meanwhile_resized_and_restored(shop: Engine) -> None:
    terminal = Terminal(shop.command("exec", "db", "sh"), 30, 90)
    try:
        terminal.read_until("# ")
        assert not terminal.echoes()
        terminal.type("stty size; echo $TERM\n")
        terminal.read_until("30 90\r\nxterm-256color\r\n")
        terminal.resize(41, 101)
        os.kill(terminal.process.pid, signal.SIGWINCH)  # it is not its controlling terminal
        terminal.type("stty size\n")
        terminal.read_until("41 101")
        terminal.type("exit 5\n")
        assert terminal.process.wait(20) == 5
        assert terminal.echoes()
    finally:
        terminal.close()
