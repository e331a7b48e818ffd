"""Logs: what a container wrote is what is read back, line by line, over rotations and a writer's death."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel import inotify
from runtime.process import client, log_format, logs
from runtime.process.log_write import JsonLog, LocalLog, Log, lock_log, log_settings, open_log
from runtime.process.logs import LogLine, read_logs
from tests.conftest import EMULATED, SLOWER
from tests.process.bundles import specification
from tests.process.conftest import Box

DRIVERS: dict[str, type[LocalLog] | type[JsonLog]] = {"local": LocalLog, "json-file": JsonLog}


@pytest.fixture(params=list(DRIVERS))
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def log(driver: str, tmp_path: Path) -> Iterator[Log]:
    made = made_log(driver, tmp_path, 1 << 20, 3)
    yield made
    made.close()


def made_log(driver: str, directory: Path, max_size: int, max_file: int) -> LocalLog | JsonLog:
    """A log with its lock, as a monitor opens it."""
    return DRIVERS[driver](str(directory), max_size, max_file, lock_log({"directory": str(directory)}))


def texts(directory: Path, **options: Any) -> list[str]:
    return [line.text for line in read_logs(directory, **options)]


def test_lines_come_back_with_stream_and_time(log: Log, tmp_path: Path) -> None:
    before = time.time()
    log.write(1, b"one\ntwo\n")
    log.write(2, b"err\n")
    log.write(1, b"\n")
    lines = list(read_logs(tmp_path))
    assert [(line.stream, line.text) for line in lines] == [
        ("stdout", "one"),
        ("stdout", "two"),
        ("stderr", "err"),
        ("stdout", ""),
    ]
    assert all(before - 1 <= line.time <= time.time() for line in lines)
    assert not any(line.partial for line in lines)


def test_a_line_written_in_pieces_is_one_line(log: Log, tmp_path: Path) -> None:
    for piece in (b"hel", b"lo wor", b"ld\nnext"):
        log.write(1, piece)
    log.write(2, b"between\n")
    log.write(1, b" one\n")
    assert sorted(texts(tmp_path)) == ["between", "hello world", "next one"]


def test_an_unfinished_line_is_read_at_the_end(driver: str, tmp_path: Path) -> None:
    made = made_log(driver, tmp_path, 1 << 20, 3)
    made.write(1, b"done\nnot done")
    made.close()
    assert texts(tmp_path) == ["done", "not done"]


def test_a_long_line_comes_in_pieces_of_16_kib(log: Log, tmp_path: Path) -> None:
    log.write(1, b"a" * 40_000)
    log.write(1, b"b" * 100 + b"\nshort\n")
    lines = list(read_logs(tmp_path))
    assert [len(line.text) for line in lines] == [16384, 16384, 7332, 5]
    assert [line.partial for line in lines] == [True, True, False, False]
    assert "".join(line.text for line in lines[:3]) == "a" * 40_000 + "b" * 100


def test_bytes_that_are_no_text_are_shown_as_such(log: Log, tmp_path: Path) -> None:
    log.write(1, b'caf\xc3\xa9 \xff\xfe \x1b[0m "quoted" back\\slash \r x\n')
    assert texts(tmp_path) == ['café \ufffd\ufffd \x1b[0m "quoted" back\\slash \r x']


def test_files_are_rotated_and_their_number_is_kept(driver: str, tmp_path: Path) -> None:
    made = made_log(driver, tmp_path, 10_000, 3)
    for number in range(2000):
        made.write(1, f"line {number:05d}\n".encode())
    made.close()
    files = [path for path in tmp_path.iterdir() if path.name != log_format.LOCK_FILE]
    assert len(files) == 3
    assert all(path.stat().st_size < 10_200 for path in files)
    lines = texts(tmp_path)
    first = int(lines[0].split()[1])
    assert lines == [f"line {number:05d}" for number in range(first, 2000)]
    assert first > 0


def test_one_file_may_be_all(driver: str, tmp_path: Path) -> None:
    made = made_log(driver, tmp_path, 1000, 1)
    for number in range(200):
        made.write(1, f"line {number}\n".encode())
    made.close()
    assert len([path for path in tmp_path.iterdir() if path.name != log_format.LOCK_FILE]) <= 1


def test_tail_and_since_choose_lines(log: Log, tmp_path: Path) -> None:
    log.write(1, b"".join(f"old {number}\n".encode() for number in range(10)))
    time.sleep(0.01)
    moment = time.time()
    log.write(1, b"new 1\nnew 2\n")
    assert texts(tmp_path, tail=3) == ["old 9", "new 1", "new 2"]
    assert texts(tmp_path, tail=0) == []
    assert texts(tmp_path, since=moment) == ["new 1", "new 2"]
    assert texts(tmp_path, since=moment, tail=100) == ["new 1", "new 2"]


def test_following_sees_everything_until_the_writer_closes(driver: str, tmp_path: Path) -> None:
    made = made_log(driver, tmp_path, 20_000, 50)
    made.write(1, b"first\n")
    heard: list[LogLine] = []
    thread = threading.Thread(target=lambda: heard.extend(read_logs(tmp_path, follow=True)))
    thread.start()
    for number in range(1500):
        made.write(1, f"line {number}\n".encode())
    made.write(1, b"unfinished")
    made.close()
    thread.join(10)
    assert not thread.is_alive()
    assert [line.text for line in heard] == ["first", *(f"line {number}" for number in range(1500)), "unfinished"]


def test_following_wakes_at_once(log: Log, tmp_path: Path) -> None:
    log.write(1, b"first\n")
    lines = read_logs(tmp_path, follow=True)
    assert next(lines).text == "first"
    timer = threading.Timer(0.1, lambda: log.write(1, b"second\n"))
    timer.start()
    started = time.monotonic()
    assert next(lines).text == "second"
    assert time.monotonic() - started < 0.9
    timer.join()


@pytest.mark.parametrize("call", ["inotify_init1", "inotify_add_watch"])
def test_following_goes_on_where_the_kernel_gives_no_watch(
    call: str, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no more watches")

    monkeypatch.setattr(inotify, call, refuse)
    places = threading.Semaphore(1)
    monkeypatch.setattr(logs._Watch, "free", places)
    log.write(1, b"first\n")
    lines = read_logs(tmp_path, follow=True)
    assert next(lines).text == "first"
    log.write(1, b"second\n")
    assert next(lines).text == "second"
    assert places.acquire(blocking=False), "its place is given back"


def test_nothing_is_read_where_nothing_was_written(tmp_path: Path) -> None:
    assert texts(tmp_path) == texts(tmp_path / "missing") == []
    assert texts(tmp_path / "missing", follow=True) == []


def test_what_a_dying_writer_left_torn_is_cut_off(tmp_path: Path) -> None:
    made = made_log("local", tmp_path, 1 << 20, 3)
    made.write(1, b"whole\n")
    made.close()
    file = tmp_path / log_format.LOCAL_FILE
    for torn in (b"\x05", log_format.HEADER.pack(500, 1, 7) + b"only a part"):
        with file.open("ab") as stream:
            stream.write(torn)
        assert texts(tmp_path) == ["whole"]
        again = made_log("local", tmp_path, 1 << 20, 3)
        again.close()
        assert texts(tmp_path) == ["whole"]
    again = made_log("local", tmp_path, 1 << 20, 3)
    again.write(1, b"after\n")
    again.close()
    assert texts(tmp_path) == ["whole", "after"]


def test_the_json_driver_writes_dockers_format(tmp_path: Path) -> None:
    made = made_log("json-file", tmp_path, 1 << 20, 3)
    made.write(2, b"text\n")
    made.close()
    entry = json.loads((tmp_path / log_format.JSON_FILE).read_text())
    assert (entry["log"], entry["stream"]) == ("text\n", "stderr")
    assert entry["time"].endswith("Z")
    assert len(entry["time"]) == len("2026-01-02T03:04:05.123456789Z")


def test_settings_come_from_the_annotation(tmp_path: Path) -> None:
    assert log_settings({}) is None
    assert log_settings({"annotations": {"trimtab/log": '{"driver": "none"}'}}) is None
    settings = {"driver": "local", "directory": str(tmp_path / "new")}
    wanted = log_settings({"annotations": {"trimtab/log": json.dumps(settings)}})
    assert wanted is not None
    made = open_log(wanted, lock_log(wanted))
    made.write(1, b"x\n")
    made.close()
    assert texts(tmp_path / "new") == ["x"]


@pytest.mark.kernel
def test_a_container_logs_through_its_monitor(box: Box, driver: str) -> None:
    box.write("one", specification("sh", "-c", "echo out; echo err >&2; printf unfinished"), log=driver)
    client.create(box.layout, "one")
    client.start(box.layout, "one")
    client.wait(box.layout, "one", 10)
    lines = {(line.stream, line.text) for line in read_logs(box.layout.container_log("one"))}
    assert lines == {("stdout", "out"), ("stderr", "err"), ("stdout", "unfinished")}


@pytest.mark.kernel
def test_the_driver_none_keeps_nothing_and_blocks_nobody(box: Box) -> None:
    spec = specification("sh", "-c", "head -c 1000000 /dev/zero")
    box.write("one", spec, log="none")
    client.create(box.layout, "one")
    client.start(box.layout, "one")
    assert client.wait(box.layout, "one", 10).exit_code == 0
    assert not box.layout.container_log("one").exists()


@pytest.mark.kernel
def test_logs_go_on_over_attempts(box: Box) -> None:
    for word in ("first", "second"):
        box.run(specification("echo", word))
    assert box.output("one") == "first\nsecond\n"


@pytest.mark.kernel
def test_a_flood_passes_with_bounded_memory(box: Box) -> None:
    script = "read go < /fifo; dd if=/dev/zero bs=64k count=3200 2>/dev/null; exit 5"
    bundle = box.write("one", specification("sh", "-c", script))
    os.mkfifo(bundle / "upper/fifo")
    client.create(box.layout, "one")
    client.start(box.layout, "one")
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    box_pid = seen.pid
    before = resident(seen.monitor_pid)
    started = time.monotonic()
    with Path(f"/proc/{box_pid}/root/fifo").open("w") as fifo:
        fifo.write("go\n")
    assert client.wait(box.layout, "one", 60 * SLOWER).exit_code == 5
    seconds = time.monotonic() - started
    assert peak[0] - before < 4096
    assert EMULATED or (200 << 20) / seconds > 20e6, f"{200 / seconds:.0f} MB/s"


peak = [0]


def resident(pid: int) -> int:
    """KiB of a process now; its peak goes on being watched until it ends."""

    def watch() -> None:
        try:
            while True:
                peak[0] = max(peak[0], rss(pid))
                time.sleep(0.02)
        except (FileNotFoundError, ProcessLookupError, StopIteration):
            return

    now = rss(pid)
    peak[0] = now
    threading.Thread(target=watch, daemon=True).start()
    return now


def rss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
