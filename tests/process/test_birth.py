"""Between a request and a running container: a maker that waits, a client that is killed, a directory made anew."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel.process import start_time
from runtime.process import client, protocol
from runtime.process.creator import is_quick
from runtime.process.failure import ProcessFailed
from runtime.process.paths import ContainerPaths
from runtime.process.records import Phase
from tests.conftest import SLOWER
from tests.process.bundles import specification
from tests.process.conftest import Box

pytestmark = pytest.mark.kernel


def until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds * SLOWER
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


def ask(box: Box, name: str) -> Any:
    """A request to make a container, sent and not waited for."""
    channel = protocol.connect(str(box.layout.launcher_socket))
    message = {"verb": "create", "code": protocol.fingerprint(), **ContainerPaths.of(box.layout, name).to_message()}
    protocol.send(channel, message)
    return channel


def with_hook(kind: str, script: str) -> dict[str, Any]:
    """A specification with a hook that takes its time."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    return {**specification("sleep", "600"), "hooks": {kind: [hook]}}


def test_what_was_asked_for_by_a_client_that_has_gone_is_not_made(box: Box) -> None:
    launcher = client.ensure_launcher(box.layout)
    box.write("one", specification("sleep", "600"))
    os.kill(launcher, signal.SIGSTOP)
    try:
        ask(box, "one").close()
    finally:
        os.kill(launcher, signal.SIGCONT)
    # the launcher hears one after the other: when this one is made, the first was dealt with
    box.begin("two", specification("sleep", "600"))
    assert client.read_process(box.layout, "one") is None
    client.create(box.layout, "one")
    assert client.read_process(box.layout, "one") is not None


def test_a_container_that_is_still_being_made_is_ended_before_its_name_is_free(box: Box) -> None:
    client.ensure_launcher(box.layout)
    box.write("one", with_hook("createRuntime", "sleep 1"))
    channel = ask(box, "one")
    until(lambda: client.read_process(box.layout, "one") is not None)
    process = client.read_process(box.layout, "one")
    assert process is not None
    channel.close()
    client.delete(box.layout, "one", force=True)
    assert start_time(process.pid) is None
    assert not box.layout.live("one").exists()
    box.begin("one", specification("sleep", "600"))
    again = client.read_process(box.layout, "one")
    assert again is not None and again.phase is Phase.RUNNING


def test_one_that_is_still_being_made_can_be_stopped(box: Box) -> None:
    client.ensure_launcher(box.layout)
    box.write("one", with_hook("createRuntime", "sleep 1"))
    channel = ask(box, "one")
    until(lambda: client.read_process(box.layout, "one") is not None)
    channel.close()
    assert client.stop(box.layout, "one", signal.SIGTERM, 5).exit_code in (None, 137)


def test_a_deletion_without_force_waits_for_nobody_and_removes_nothing_that_lives(box: Box) -> None:
    box.begin("one", specification("sleep", "600"))
    with pytest.raises(ProcessFailed, match="it is running"):
        client.delete(box.layout, "one")
    process = client.read_process(box.layout, "one")
    assert process is not None and process.phase is Phase.RUNNING


def test_a_successor_keeps_its_socket_record_and_cgroup_when_the_old_monitor_ends_late(
    box: Box, tmp_path: Path
) -> None:
    released = tmp_path / "released"
    box.begin("one", with_hook("poststop", f"while [ ! -e {released} ]; do sleep 0.05; done"))
    old = client.read_process(box.layout, "one")
    assert old is not None
    client.kill(box.layout, "one", signal.SIGKILL)
    client.wait(box.layout, "one", 10)
    # somebody's hand: no deletion of ours would go on while the monitor is there, which may be taking its socket away
    shutil.rmtree(box.layout.live("one"), ignore_errors=True)
    assert not box.layout.live("one").exists()
    box.begin("one", specification("sleep", "600"))
    assert start_time(old.monitor_pid) == old.monitor_start_time
    released.touch()
    until(lambda: start_time(old.monitor_pid) is None)
    new = client.read_process(box.layout, "one")
    assert new is not None and new.phase is Phase.RUNNING and new.pid != old.pid
    assert not (box.layout.container("one") / "exit.json").exists()
    client.rotate(box.layout, "one", 1 << 20, 3)


def test_two_deletions_at_once_both_succeed(box: Box) -> None:
    box.begin("one", specification("sleep", "600"))
    failures: list[BaseException] = []

    def delete() -> None:
        try:
            client.delete(box.layout, "one", force=True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=delete) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert not box.layout.live("one").exists()


@pytest.mark.parametrize(
    ("source", "quick"),
    [("{bundle}/etc/hosts", True), ("{run}/secrets/one", True), ("/srv/data", False), ("{bundle}-other/hosts", False)],
)
def test_only_files_of_others_can_make_a_maker_wait(box: Box, source: str, quick: bool) -> None:
    paths = ContainerPaths.of(box.layout, "one")
    found = source.format(bundle=paths.bundle, run=box.layout.run)
    entry = {"destination": "/x", "type": "bind", "source": found, "options": ["bind"]}
    assert is_quick({"mounts": [entry]}, paths) is quick
