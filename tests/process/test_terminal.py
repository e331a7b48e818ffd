"""Terminals: of a container and of an exec, with their sizes, and several clients at one."""

from __future__ import annotations

import os
import pty
import select
import signal
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.kernel import terminal
from runtime.process import client
from runtime.process.records import ExitRecord
from tests.conftest import SLOWER
from tests.process.bundles import specification
from tests.process.conftest import Box
from tests.process.test_exec import command

pytestmark = pytest.mark.kernel


class Screen:
    """A terminal as a person has it: what is typed goes in, what shows is collected."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.shown = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds * SLOWER
        while text.encode() not in self.shown:
            assert time.monotonic() < deadline, (text, self.shown)
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 4096)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    terminal.set_size(made.master, 33, 77)
    yield made
    made.close()


def in_thread(call: Any, *arguments: Any) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments)))
    thread.start()
    return thread, results


@pytest.mark.vm
def test_an_exec_on_a_terminal_has_one_of_the_containers(box: Box, screen: Screen) -> None:
    box.begin("one", specification("sleep", "600"))
    process = command("tty; stty size; read line; echo got $line; exit 4")
    thread, codes = in_thread(client.exec_, box.layout, "one", process, screen.slave, screen.slave, screen.slave, True)
    screen.wait_for("/dev/pts/0")
    screen.wait_for("33 77")
    screen.type("word\r")
    screen.wait_for("got word")
    thread.join(10)
    assert codes == [4]


def test_the_callers_terminal_is_itself_again_afterwards(box: Box, screen: Screen) -> None:
    box.begin("one", specification("sleep", "600"))
    before = termios.tcgetattr(screen.slave)
    assert client.exec_(box.layout, "one", command("true"), screen.slave, screen.slave, screen.slave, True) == 0
    assert termios.tcgetattr(screen.slave) == before


def test_control_c_reaches_the_foreground(box: Box, screen: Screen) -> None:
    box.begin("one", specification("sleep", "600"))
    process = command("trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 0.05; done")
    thread, codes = in_thread(client.exec_, box.layout, "one", process, screen.slave, screen.slave, screen.slave, True)
    screen.wait_for("up")
    screen.type("\x03")
    screen.wait_for("interrupted")
    thread.join(10)
    assert codes == [9]


def test_a_container_on_a_terminal_is_logged_and_attached_to(box: Box, screen: Screen) -> None:
    script = "tty; echo up; read a; echo first $a; read b; echo second $b; exit 6"
    spec = specification("sh", "-c", script, terminal=True, consoleSize={"height": 20, "width": 60})
    box.begin("one", spec)
    thread, ends = in_thread(client.attach, box.layout, "one", screen.slave, screen.slave, screen.slave, b"\x10\x11")
    screen.type("x\r")
    screen.wait_for("first x")
    screen.type("\x10\x11")
    thread.join(10)
    assert ends == [None]
    thread, ends = in_thread(client.attach, box.layout, "one", screen.slave, screen.slave, screen.slave)
    screen.type("y\r")
    screen.wait_for("second y")
    thread.join(10)
    assert isinstance(ends[0], ExitRecord)
    assert ends[0].exit_code == 6
    assert "/dev/pts/0" in box.output("one")


def test_the_terminal_of_a_container_is_its_console(box: Box) -> None:
    spec = specification(
        "sh",
        "-c",
        "test /dev/console -ef /dev/pts/0 && stty size",
        terminal=True,
        consoleSize={"height": 20, "width": 60},
    )
    record, text = box.run(spec)
    assert record.exit_code == 0
    assert text.split() == ["20", "60"]


def test_a_terminal_is_resized(box: Box) -> None:
    spec = specification(
        "sh", "-c", "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.05; done", terminal=True
    )
    box.begin("one", spec)
    while "up" not in box.output("one"):
        time.sleep(0.01)
    client.resize(box.layout, "one", 44, 99)
    client.wait(box.layout, "one", 10)
    assert "44 99" in box.output("one")


def test_a_container_whose_input_is_open_is_fed_until_it_is_closed(box: Box) -> None:
    spec = specification("sh", "-c", "cat; echo end")
    spec["annotations"]["trimtab/stdin_open"] = "true"
    box.begin("one", spec)
    inner, outer = os.pipe()
    shown, output = os.pipe()
    thread, ends = in_thread(client.attach, box.layout, "one", inner, output, output)
    data = b"line\n" * 40_000
    writer, _ = in_thread(os.write, outer, data[:4096])
    writer.join()
    feeder, _ = in_thread(feed_and_close, outer, data[4096:])
    collected = read_until(shown, b"end\n")
    feeder.join(10)
    thread.join(10)
    assert ends[0].exit_code == 0
    assert collected == data + b"end\n"
    for descriptor in (inner, shown, output):
        os.close(descriptor)


def feed_and_close(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.close(descriptor)


def read_until(descriptor: int, end: bytes) -> bytes:
    collected = b""
    while not collected.endswith(end):
        assert select.select([descriptor], [], [], 10)[0], collected[-100:]
        collected += os.read(descriptor, 65536)
    return collected


def test_without_open_input_there_is_nothing_to_read(box: Box) -> None:
    assert box.shell("cat; echo end") == "end\n"


def test_two_clients_hear_the_same(box: Box) -> None:
    box.begin("one", specification("sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; echo both; exit 2"))
    ends = []
    pipes = [os.pipe() for _ in range(2)]
    for _, writer in pipes:
        ends.append(in_thread(client.attach, box.layout, "one", None, writer, writer))
    wait_for_clients(box)
    client.exec_(box.layout, "one", command("touch /go"), 0, 1, 2)
    for (reader, writer), (thread, results) in zip(pipes, ends, strict=True):
        thread.join(10)
        assert results[0].exit_code == 2
        assert os.read(reader, 100) == b"both\n"
        os.close(reader)
        os.close(writer)


def wait_for_clients(box: Box) -> None:
    # a monitor answers in order: whoever asks after the attaching ones is answered after they are attached
    client.resize(box.layout, "one", 1, 1)
    time.sleep(0.2)


def test_a_hangup_of_the_exec_client_ends_the_session(box: Box, screen: Screen) -> None:
    box.begin("one", specification("sleep", "600"))
    pid = os.fork()
    if pid == 0:
        try:
            process = command("trap 'touch /hung; exit' HUP; touch /up; while :; do sleep 0.05; done")
            client.exec_(box.layout, "one", process, screen.slave, screen.slave, screen.slave, True)
        finally:
            os._exit(0)
    upper = box.layout.container("one") / "upper"
    wait_until(lambda: (upper / "up").exists())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_until(lambda: (upper / "hung").exists())


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds * SLOWER
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
