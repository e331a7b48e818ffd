"""`--host ssh://…` by way of a real ssh server: what works as it does here, and what is said where it does not."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.engine import CODE, Engine, making_engine
from tests.conftest import SLOWER
from tests.daemon.running import Daemon, daemon
from tests.daemon.sshd import PORT, Server, serving, trust

pytestmark = pytest.mark.kernel

SHOP = """
apiVersion: trimtab/v1
kind: Image
metadata: {{name: busybox}}
spec: {{rootfs: {tree}}}
---
apiVersion: trimtab/v1
kind: Container
metadata: {{name: talker}}
spec:
  image: busybox
  network_mode: none
  init: true
  command: [sh, -c, "echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo second; exec sleep 1000"]
"""


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Daemon, Server]]:
    """A daemon, and the ssh server in front of it."""
    with making_engine() as engine, daemon(engine) as served, serving(engine.base / "ssh") as server:
        code = "from reconciler.cli.entry import main; main()"
        where = f"--root {engine.layout.root} --run {engine.layout.run}"
        server.install(f"PYTHONPATH={CODE} exec {sys.executable} -c '{code}' {where} \"$@\"")
        engine.environment |= {"TRIMTAB_SSH": str(server.client), "TRIMTAB_HOST": f"ssh://root@127.0.0.1:{PORT}"}
        yield served, server


@pytest.fixture(scope="module")
def shop(far: tuple[Daemon, Server], busybox_tree: Path) -> str:
    return far[0].engine.write("shop.yaml", SHOP.format(tree=busybox_tree))


@pytest.fixture(scope="module")
def applied(far: tuple[Daemon, Server], shop: str) -> Iterator[Engine]:
    engine = far[0].engine
    before = engine.run("diff", shop)
    assert before.code == 1 and "+ Container/talker create" in before.out
    assert "Applied: 2 created" in engine.ok("apply", shop).out
    try:
        yield engine
    finally:
        engine.ok("delete", shop)


def until(condition: Callable[[], bool], tell: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20 * SLOWER
    while not condition():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.02)


def test_what_was_applied_there_is_seen_there(applied: Engine, far: tuple[Daemon, Server], shop: str) -> None:
    assert applied.ok("diff", shop).out.startswith("No difference")
    assert "talker" in applied.ok("get", "-o", "name").out
    by_socket = applied.ok("-H", f"ssh://root@127.0.0.1:{PORT}{far[0].socket}", "get", "-o", "name")
    assert "talker" in by_socket.out
    assert "Accepted publickey for root" in (far[1].base / "sshd.log").read_text()


def test_exec_passes_streams_and_the_exit_code(applied: Engine) -> None:
    said = applied.run("exec", "-i", "talker", "sh", "-c", "cat; echo aside >&2; exit 7", stdin=b"by ssh\n")
    assert (said.code, said.out, said.err) == (7, "by ssh\n", "aside\n")


def test_logs_are_followed_until_the_server_dies(applied: Engine, far: tuple[Daemon, Server]) -> None:
    server = far[1]
    following = applied.start("logs", "-f", "talker")
    until(lambda: "first" in following.so_far().out, following.so_far)
    applied.ok("exec", "talker", "touch", "/tmp/go")
    until(lambda: "second" in following.so_far().out, following.so_far)
    for pid in server.sessions():
        os.kill(pid, signal.SIGKILL)
    said = following.wait()
    assert said.code == 1 and "went away" in said.err and "Traceback" not in said.err
    assert applied.ok("exec", "talker", "true").code == 0


def test_ctrl_c_of_the_whole_terminal_leaves_the_connection_to_end_in_order(applied: Engine) -> None:
    """The terminal sends the signal to ssh as well, which must not cut the line before the daemon was asked to stop."""
    following = applied.start("logs", "-f", "talker")
    until(lambda: "first" in following.so_far().out, following.so_far)
    children = Path(f"/proc/{following.process.pid}/task/{following.process.pid}/children").read_text().split()
    (ssh,) = [int(word) for word in children]
    ignored = next(line for line in Path(f"/proc/{ssh}/status").read_text().splitlines() if line.startswith("SigIgn"))
    assert int(ignored.split()[1], 16) & 1 << (signal.SIGINT - 1)
    following.interrupt()
    assert "went away" not in following.wait().err


def test_a_server_with_another_key_is_not_spoken_to(far: tuple[Daemon, Server]) -> None:
    engine, base = far[0].engine, far[1].base
    trust(base, base / "key.pub")
    try:
        said = engine.run("get")
    finally:
        trust(base, base / "host.pub")
    assert said.code == 1 and "Host key verification failed" in said.err
    assert "no daemon answers" in said.err and "ssh brought no connection about" in said.err


def test_nobody_at_that_port(far: tuple[Daemon, Server]) -> None:
    said = far[0].engine.run("-H", "ssh://root@127.0.0.1:2223", "get")
    assert said.code == 1 and "Connection refused" in said.err and "no daemon answers" in said.err


def test_no_program_there(far: tuple[Daemon, Server]) -> None:
    engine, server = far[0].engine, far[1]
    program = server.base / "bin/trimtab"
    program.rename(server.base / "away")
    try:
        said = engine.run("get")
    finally:
        (server.base / "away").rename(program)
    assert said.code == 1 and "trimtab is not in the PATH that ssh gives there" in said.err


def test_no_daemon_there(far: tuple[Daemon, Server]) -> None:
    said = far[0].engine.run("-H", f"ssh://root@127.0.0.1:{PORT}/run/nobody.sock", "get")
    assert said.code == 1 and "no daemon listens at /run/nobody.sock" in said.err and "fault" not in said.err
    assert "dial-stdio` there ended with 2" in said.err


def test_no_ssh_here(far: tuple[Daemon, Server]) -> None:
    engine = far[0].engine
    kept = engine.environment["TRIMTAB_SSH"]
    engine.environment["TRIMTAB_SSH"] = "/nowhere/ssh"
    try:
        said = engine.run("get")
    finally:
        engine.environment["TRIMTAB_SSH"] = kept
    assert said.code == 1 and "there is no program /nowhere/ssh" in said.err
