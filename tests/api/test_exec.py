"""Processes in containers through the daemon: streams, exit codes, terminals, and clients that leave."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.api.conftest import Asking, Connection
from tests.cli.engine import plain_environment

pytestmark = pytest.mark.kernel


def test_streams_and_exit_codes_are_the_same_as_without_a_daemon(api: Asking) -> None:
    for words in (
        ["exec", "db", "sh", "-c", "echo out; echo err >&2; exit 7"],
        ["exec", "-e", "A=1", "-u", "nobody", "-w", "/tmp", "db", "sh", "-c", "echo $A; id -u; pwd"],
        ["exec", "db", "/nothing"],
        ["exec", "db", "/etc/passwd"],
        ["exec", "db", "sh", "-c", "kill -9 $$"],
        ["exec", "web", "echo", "replica"],
        ["exec", "nobody", "true"],
        ["exec", "-u", "nosuch", "db", "true"],
        ["exec", "-t", "db", "true"],
    ):
        assert api.engine.run(*words) == api.engine.run("-H", "none", *words), words


def test_a_megabyte_goes_in_and_comes_back_whole(api: Asking) -> None:
    data = b"".join(b"%07d\n" % number for number in range(200_000))
    said = api.engine.run("exec", "-i", "db", "cat", stdin=data)
    assert said.code == 0 and said.out.encode() == data


def test_without_input_it_sees_the_end_at_once(api: Asking) -> None:
    assert api.engine.run("exec", "db", "cat").out == ""


def test_detached_it_goes_on_by_itself(api: Asking) -> None:
    pid = api.engine.ok("exec", "-d", "db", "sleep", "4711").out.strip()
    assert process_with(b"sleep\x004711\x00") == int(pid)
    os.kill(int(pid), signal.SIGKILL)


def process_with(command: bytes) -> int | None:
    """The pid of the process whose arguments are these."""
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (directory / "cmdline").read_bytes() == command:
                return int(directory.name)
    return None


def size(descriptor: int, rows: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def read_until(descriptor: int, text: bytes) -> bytes:
    found = b""
    deadline = time.monotonic() + 20
    while text not in found:
        assert time.monotonic() < deadline, found
        if select.select([descriptor], [], [], 0.5)[0]:
            found += os.read(descriptor, 4096)
    return found


def test_a_terminal_has_our_size_and_follows_it(api: Asking) -> None:
    master, slave = pty.openpty()
    size(slave, 31, 97)
    environment = plain_environment() | {"TERM": "vt100"}
    process = subprocess.Popen(
        api.engine.command("exec", "db", "sh"), stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True
    )
    try:
        os.write(master, b"stty size; echo term=$TERM\n")
        assert b"31 97" in read_until(master, b"term=vt100")
        size(slave, 40, 120)
        process.send_signal(signal.SIGWINCH)
        os.write(master, b"sleep 0.2; stty size\n")
        read_until(master, b"40 120")
        os.write(master, b"exit 5\n")
        assert process.wait(20) == 5
        assert termios.tcgetattr(slave)[3] & termios.ECHO, "the terminal must be given back as it was"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)
        os.close(slave)


def test_who_leaves_hangs_up_the_terminal(api: Asking) -> None:
    made = api.ask("POST", "/v1/containers/db/exec", {"arguments": ["sleep", "31415"], "terminal": True}, status=201)
    connection = Connection(api.daemon.socket)
    connection.request("POST", f"/v1/exec/{made['id']}", headers={"Connection": "Upgrade", "Upgrade": "tcp"})
    assert connection.getresponse().status == 101
    wanted = b"sleep\x0031415\x00"
    deadline = time.monotonic() + 20
    while process_with(wanted) is None:
        assert time.monotonic() < deadline
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    while process_with(wanted) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_is_started_once_and_only_by_an_upgrade(api: Asking) -> None:
    made = api.ask("POST", "/v1/containers/db/exec", {"arguments": ["true"]}, status=201)
    api.problem("POST", f"/v1/exec/{made['id']}", status=426)
    status, _, _ = api.raw("POST", f"/v1/exec/{made['id']}", None, Connection="Upgrade", Upgrade="tcp")
    assert status == 101
    again, _, text = api.raw("POST", f"/v1/exec/{made['id']}", None, Connection="Upgrade", Upgrade="tcp")
    assert again == 404 and json.loads(text)["hint"]
    api.problem("POST", "/v1/containers/db/exec", {"arguments": []})
    api.problem("POST", "/v1/containers/nobody/exec", {"arguments": ["true"]}, status=404)
