"""One server per engine: started, found, replaced, ended, and harmless meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import runtime
import schemas
from runtime.kernel.process import start_time, wait_end
from runtime.layout import Layout
from runtime.network.dns import process
from runtime.network.dns.process import ObservedDns, ensure_dns, read_dns, stop_dns
from runtime.network.dns.records import ensure_listen, ensure_records
from schemas.errors import RetryLater
from tests.dns.conftest import FRONT, answers, query

pytestmark = pytest.mark.kernel


def one_name(layout: Layout) -> None:
    ensure_listen(layout, "front", [f"{FRONT}/16"])
    ensure_records(layout, "front", "web", ["web"], ["127.1.0.2"])


def pid_of(layout: Layout) -> int:
    pid = read_dns(layout).pid
    assert pid is not None
    return pid


def kill_and_wait(pid: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        assert wait_end(handle, 5)
    finally:
        os.close(handle)


def test_a_server_that_is_not_there_is_observed_so(layout: Layout) -> None:
    assert read_dns(layout) == ObservedDns(alive=False)
    stop_dns(layout)


def test_a_server_that_answers_is_left_alone(server: Layout) -> None:
    before = pid_of(server)
    assert ensure_dns(server) is False
    assert pid_of(server) == before


@pytest.mark.vm
def test_a_killed_server_is_restored_with_all_it_answered(server: Layout, resolv_conf: Path) -> None:
    one_name(server)
    assert answers(query("web")) == ["127.1.0.2"]
    for _ in range(3):
        kill_and_wait(pid_of(server))
        assert read_dns(server) == ObservedDns(alive=False)
        assert ensure_dns(server, resolv_conf) is True
        assert answers(query("web")) == ["127.1.0.2"]


def test_records_written_while_no_server_runs_are_answered_by_the_next(server: Layout, resolv_conf: Path) -> None:
    stop_dns(server)
    one_name(server)
    ensure_dns(server, resolv_conf)
    assert answers(query("web")) == ["127.1.0.2"]


def test_of_many_callers_at_once_one_starts_the_server(layout: Layout, netns: None, resolv_conf: Path) -> None:
    try:
        with ThreadPoolExecutor(4) as pool:  # Threads made here live in the test's network namespace.
            started = list(pool.map(lambda _: ensure_dns(layout, resolv_conf), range(4)))
        assert sorted(started) == [False, False, False, True]
    finally:
        stop_dns(layout)


def test_a_server_whose_starter_was_killed_is_waited_for(
    layout: Layout, netns: None, resolv_conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the lock already, and does not answer yet when the next caller comes."""
    start = process._start

    def refused(*arguments: Any) -> None:
        start(*arguments)
        raise RetryLater("another DNS server of this engine holds the lock")

    monkeypatch.setattr(process, "_start", refused)
    try:
        assert ensure_dns(layout, resolv_conf) is False
        assert read_dns(layout).is_current
    finally:
        stop_dns(layout)


def test_a_second_server_of_the_same_engine_refuses_to_start(server: Layout) -> None:
    before = pid_of(server)
    code = "import sys; from runtime.network.dns.server import main; sys.exit(main(sys.argv[1:]))"
    paths = [str(server.dns), "/etc/resolv.conf"]
    second = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "another DNS server of this engine holds the lock" in second.stderr
    assert pid_of(server) == before


def test_a_server_that_hangs_is_replaced(server: Layout, resolv_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_name(server)
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.5)
    before = pid_of(server)
    os.kill(before, signal.SIGSTOP)
    assert ensure_dns(server, resolv_conf) is True
    assert start_time(before) is None
    assert answers(query("web")) == ["127.1.0.2"]


def test_a_server_of_older_code_is_replaced(
    layout: Layout, netns: None, resolv_conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in (runtime, schemas):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "runtime/network/dns/server.py").open("a") as file:
        file.write("# older\n")
    with monkeypatch.context() as older:
        older.setattr(process, "__file__", str(tmp_path / "runtime/network/dns/process.py"))
        with pytest.raises(RetryLater, match="does not answer"):
            ensure_dns(layout, resolv_conf)  # It answers, but not as the code that called.
    one_name(layout)
    try:
        before = read_dns(layout)
        assert (before.alive, before.is_current) == (True, False)
        assert ensure_dns(layout, resolv_conf) is True
        assert read_dns(layout).pid != before.pid
        assert read_dns(layout).is_current
        assert answers(query("web")) == ["127.1.0.2"]
    finally:
        stop_dns(layout)


def test_a_server_of_the_code_that_replaced_a_long_lived_clients_own_is_left_alone(
    server: Layout, resolv_conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pid_of(server)
    monkeypatch.setattr(process, "code_version", lambda: "older")
    assert read_dns(server).is_current
    assert ensure_dns(server, resolv_conf) is False
    assert pid_of(server) == before


def test_clients_hardly_notice_that_a_server_is_replaced(
    server: Layout, resolv_conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_name(server)
    with monkeypatch.context() as newer, ThreadPoolExecutor(1) as pool:
        for name in ("code_version", "read_code_version"):
            newer.setattr(process, name, lambda: "newer")
        begin = last = time.monotonic()
        longest = 0.0
        replacing = pool.submit(ensure_dns, server, resolv_conf)
        while not replacing.done():
            with suppress(OSError):
                assert answers(query("web", timeout=0.05)) == ["127.1.0.2"]
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert isinstance(replacing.exception(), RetryLater)  # What answers now is not the newer code either.
    assert longest < (time.monotonic() - begin) / 2


def test_a_server_that_cannot_start_says_why(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "__file__", "/nowhere/runtime/network/dns/process.py")
    with pytest.raises(RetryLater, match=r"start the DNS server: .*No module named"):
        ensure_dns(layout)


def test_a_server_outlives_its_starter_and_is_nobodys_child(server: Layout) -> None:
    status = Path(f"/proc/{pid_of(server)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["PPid"]) != os.getpid()
    assert os.getsid(pid_of(server)) != os.getsid(0)


@pytest.mark.vm
def test_a_server_runs_as_nobody_with_no_more_than_the_right_to_bind(server: Layout) -> None:
    status = Path(f"/proc/{pid_of(server)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    bind_only = 1 << 10
    assert fields["Uid"].split() == ["65534"] * 4
    assert fields["Gid"].split() == ["65534"] * 4
    assert fields["Groups"].strip() == ""
    assert [int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")] == [bind_only] * 3
    assert [int(fields[name], 16) for name in ("CapInh", "CapAmb")] == [0, 0]
    assert fields["NoNewPrivs"] == "1"


def test_the_records_are_readable_to_the_server_and_root_alone(server: Layout) -> None:
    before = os.umask(0o077)
    try:
        one_name(server)
    finally:
        os.umask(before)
    assert answers(query("web")) == ["127.1.0.2"]
    for path in [server.dns, *server.dns.rglob("*")]:
        assert path.is_socket() or path.stat().st_mode & 0o007 == 0, path


def test_a_server_ends_when_its_directory_is_removed(server: Layout) -> None:
    handle = os.pidfd_open(pid_of(server))
    try:
        shutil.rmtree(server.dns)
        assert wait_end(handle, 5)
    finally:
        os.close(handle)


def test_a_server_uses_no_processor_while_nobody_asks(server: Layout) -> None:
    one_name(server)
    query("web")
    pid = pid_of(server)

    def woken() -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    before = woken()
    subprocess.run(["sleep", "0.7"], check=True)
    assert woken() - before <= 1
