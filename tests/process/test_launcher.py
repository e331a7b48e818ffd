"""The launcher and the monitors: one per engine, found again, replaced, killed, and never in a container's way."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.kernel.process import open_process, start_time, wait_end
from runtime.layout import Layout
from runtime.process import client, launching, monitor, pair, protocol
from runtime.process.cloning import Order
from runtime.process.failure import ProcessFailed
from runtime.process.records import Phase
from tests.conftest import SLOWER
from tests.process.bundles import specification
from tests.process.conftest import Box

pytestmark = pytest.mark.kernel


def end(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal exactly that process and wait until it is gone."""
    started = start_time(pid)
    assert started is not None
    descriptor = open_process(pid, started)
    assert descriptor is not None
    try:
        signal.pidfd_send_signal(descriptor, number)
        assert wait_end(descriptor, 10)
    finally:
        os.close(descriptor)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds * SLOWER
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_there_is_one_and_it_is_found_again(engine: Layout) -> None:
    pid = client.ensure_launcher(engine)
    assert client.ensure_launcher(engine) == pid
    assert start_time(pid) is not None


def test_many_starters_at_once_end_with_one(engine: Layout) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from runtime.layout import Layout; from runtime.process import client;"
        "print(client.ensure_launcher(Layout(Path(sys.argv[2]), Path(sys.argv[3]))))"
    )
    top = str(Path(__file__).parents[2])
    arguments = [sys.executable, "-S", "-c", script, top, str(engine.root), str(engine.run)]
    starters = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    said = {starter.communicate(timeout=60)[0].strip() for starter in starters}
    assert said == {str(client.ensure_launcher(engine))}


def test_one_that_comes_second_says_nothing_until_it_has_taken_the_place_of_the_first(engine: Layout) -> None:
    path = str(engine.launcher_socket)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    reader, writer = os.pipe()
    arguments = [sys.executable, "-S", "-I", launching.LAUNCHER, path, engine.cgroup(".launcher"), str(writer)]
    second = subprocess.Popen(arguments, pass_fds=[writer])
    os.close(writer)
    assert second.wait(20) == 0, "its parent goes at once"
    assert not select.select([reader], [], [], 0.3)[0]
    os.close(lock)
    assert select.select([reader], [], [], 20)[0]
    os.close(reader)
    assert client.ensure_launcher(engine) == int(Path(f"{path}.lock").read_text())


def test_it_is_detached_from_whoever_started_it(engine: Layout) -> None:
    pid = client.ensure_launcher(engine)
    process = Path(f"/proc/{pid}")
    assert os.getsid(pid) not in {os.getsid(0), 0}
    assert (process / "cwd").readlink() == Path("/")
    assert (process / "fd/0").readlink() == Path("/dev/null")
    assert len((process / "environ").read_bytes().split(b"\0")) <= 4
    kinds = {str(entry.readlink()).split(":")[0] for entry in (process / "fd").iterdir()}
    assert kinds <= {
        "/dev/null",
        "socket",
        "anon_inode",
        f"{engine.run}/launcher.sock.log",
        f"{engine.run}/launcher.sock.lock",
    }
    assert (engine.run / "launcher.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.vm
def test_killed_it_leaves_containers_alone_and_the_next_call_starts_another(box: Box) -> None:
    box.begin("one", specification("sh", "-c", "trap 'echo over; exit 4' USR1; echo up; while :; do sleep 0.02; done"))
    wait_until(lambda: box.output("one") == "up\n")
    first = client.ensure_launcher(box.layout)
    end(first)
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    assert seen.phase is Phase.RUNNING
    assert client.ensure_launcher(box.layout) != first
    record, _ = box.run(specification("true"), name="two")
    assert record.exit_code == 0
    client.kill(box.layout, "one", signal.SIGUSR1)
    assert client.wait(box.layout, "one", 10).exit_code == 4
    assert box.output("one") == "up\nover\n"


def test_it_leaves_on_sigterm_and_monitors_do_not(box: Box) -> None:
    box.begin("one", specification("sleep", "600"))
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(seen.monitor_pid, number)
    end(client.ensure_launcher(box.layout), signal.SIGTERM)
    assert start_time(seen.monitor_pid) == seen.monitor_start_time
    assert client.stop(box.layout, "one", signal.SIGKILL, 10).signal == signal.SIGKILL


def test_new_code_gets_a_new_launcher_and_old_containers_stay(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.begin("one", specification("sleep", "600"))
    old = client.ensure_launcher(box.layout)
    with monkeypatch.context() as patched:
        # as if the launcher had been started from other code than ours and than what lies on disk
        patched.setattr(protocol, "fingerprint", lambda: "1-newer")
        patched.setattr(protocol, "read_fingerprint", lambda: "1-newest")
        with pytest.raises(ProcessFailed, match="does not answer"):
            patched.setattr("runtime.process.launching.START_SECONDS", 1.0)
            client.ensure_launcher(box.layout)
    new = client.ensure_launcher(box.layout)
    assert new != old
    assert start_time(old) is None
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    assert seen.phase is Phase.RUNNING


def test_an_old_client_uses_a_newer_launcher_of_the_same_protocol(
    engine: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = client.ensure_launcher(engine)
    monkeypatch.setattr(protocol, "fingerprint", lambda: f"{protocol.PROTOCOL}-older")
    assert client.ensure_launcher(engine) == pid


def test_whoever_is_not_root_is_not_heard(engine: Layout) -> None:
    client.ensure_launcher(engine)
    engine.run.chmod(0o755)
    engine.launcher_socket.chmod(0o666)
    engine.run.parent.chmod(0o755)
    answer, question = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            with protocol.connect(str(engine.launcher_socket)) as channel:
                protocol.send(channel, {"verb": "hello", "code": protocol.fingerprint()})
                os.write(question, b"heard" if protocol.receive(channel) else b"not")
        except OSError:
            os.write(question, b"not")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(answer, 10) == b"not"
    os.close(answer)
    os.close(question)


def test_a_client_that_says_nothing_does_not_hold_others_up(engine: Layout) -> None:
    pid = client.ensure_launcher(engine)
    with protocol.connect(str(engine.launcher_socket)) as silent:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(client.ensure_launcher(engine)))
        thread.start()
        thread.join(3 * SLOWER)
        assert answers == [pid]
        assert silent.fileno() >= 0


def test_a_killed_monitor_takes_the_exit_code_along_and_nothing_else(box: Box) -> None:
    box.begin(
        "one", specification("sh", "-c", "trap 'exit 4' USR1; trap '' PIPE; echo up; while :; do sleep 0.02; done")
    )
    wait_until(lambda: box.output("one") == "up\n")
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    end(seen.monitor_pid)
    again = client.read_process(box.layout, "one")
    assert again is not None
    assert (again.phase, again.pid) == (Phase.RUNNING, seen.pid)
    with pytest.raises(TimeoutError):
        client.wait(box.layout, "one", 0.05)
    client.pause(box.layout, "one")
    client.resume(box.layout, "one")
    client.kill(box.layout, "one", signal.SIGUSR1)
    record = client.wait(box.layout, "one", 10)
    assert record.exit_code is None
    assert "unknown" in record.error
    ended = client.read_process(box.layout, "one")
    assert ended is not None
    assert ended.phase is Phase.EXITED
    client.delete(box.layout, "one")
    assert not box.layout.live("one").exists()


def test_a_container_without_a_monitor_can_be_stopped_and_replaced(box: Box) -> None:
    box.begin("one", specification("sh", "-c", "trap '' TERM; sleep 600 & wait; sleep 600"))
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    end(seen.monitor_pid)
    assert client.stop(box.layout, "one", signal.SIGTERM, 0.1).exit_code is None
    client.delete(box.layout, "one")
    record, _ = box.run(specification("sh", "-c", "exit 3"))
    assert record.exit_code == 3


def test_a_monitor_killed_before_start_ends_its_init(box: Box) -> None:
    box.write("one", specification("sleep", "600"))
    made = client.create(box.layout, "one")
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    end(seen.monitor_pid)
    wait_until(lambda: start_time(made.pid) is None)


def test_containers_are_made_by_many_clients_at_once(box: Box) -> None:
    codes: dict[int, int | None] = {}

    def one(number: int) -> None:
        record, _ = box.run(specification("sh", "-c", f"exit {number}"), name=f"box{number}", timeout=60)
        codes[number] = record.exit_code

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == {number: number for number in range(12)}


def test_a_monitor_costs_little_memory(box: Box) -> None:
    for number in range(4):
        box.begin(f"box{number}", specification("sleep", "600"))
    seen = client.read_process(box.layout, "box2")
    assert seen is not None
    lines = Path(f"/proc/{seen.monitor_pid}/smaps_rollup").read_text().splitlines()
    private = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    assert private < 1024, f"{private} KiB of its own"


def test_where_no_init_can_wait_the_monitor_says_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("runtime.kernel.namespaces.Clone3.call", refuse)
    monkeypatch.setattr("runtime.process.standby.can_wait", lambda: True)
    launcher, zygote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    seat = monitor.Seat()
    with launcher, seat.channel:
        monitor._take_seat(seat, zygote, 7)
        number, descriptors = pair.receive_raw(launcher)
        assert number == pair.NUMBER.pack(7)
        with socket.socket(fileno=descriptors[0]) as ours:
            assert ours.recv(100) == pair.NOTHING
            # an order for the same is told of
            monitor._clone_seated(seat, Order(0), [])
            assert ours.recv(1000)[:1] == pair.FAILED
    os.close(seat.init)
