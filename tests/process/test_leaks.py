"""After many rounds everything that can be counted is what it was."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runtime.process import client
from runtime.process.failure import ProcessFailed
from tests.conftest import EMULATED, cgroup_directories
from tests.process.bundles import specification
from tests.process.conftest import Box
from tests.process.test_launcher import wait_until

pytestmark = pytest.mark.kernel


def counts(box: Box) -> dict[str, int]:
    """Of this engine and this process alone: others work on the machine too."""
    base = str(box.layout.root.parent)
    launcher = client.ensure_launcher(box.layout)
    return {
        "mounts below": Path("/proc/self/mountinfo").read_text().count(base),
        "launcher's mounts": len(Path(f"/proc/{launcher}/mountinfo").read_text().splitlines()),
        "launcher's descriptors": len(list(Path(f"/proc/{launcher}/fd").iterdir())),
        "our descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "cgroups": sum(1 for own in cgroup_directories(f"trimtab-{box.layout.engine_id}") for _ in own.glob("*/")),
        "live": len(list((box.layout.run / "containers").iterdir())),
        "files": sum(len(files) for _, _, files in os.walk(box.layout.run)),
        "launcher's children": len(Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()),
    }


PATIENCE = 200
"""Looks, 0.03 s apart: in which the launcher must have a pair in hand again and nothing of what ended be left."""


def settle(box: Box) -> dict[str, int]:
    """The counts once they have been the same for a while: the launcher waits again, with a pair in hand."""
    seen: list[dict[str, int]] = []
    while len(seen) < PATIENCE:
        seen.append(counts(box))
        if seen[-10:] == [seen[-1]] * 10:
            break
        time.sleep(0.03)
    return seen[-1]


def test_two_hundred_rounds_leave_nothing(box: Box) -> None:
    box.run(specification("true"))
    before = settle(box)
    for _ in range(20 if EMULATED else 200):
        box.write("one", specification("true"))
        client.create(box.layout, "one")
        client.start(box.layout, "one")
        client.wait(box.layout, "one", 20)
        client.delete(box.layout, "one")
    assert_no_more(box, before)


def assert_no_more(box: Box, before: dict[str, int]) -> None:
    """In the end; fewer there may be: a connection just ending was still counted before."""
    more: dict[str, int] = {}
    for _ in range(PATIENCE):
        more = {name: number for name, number in counts(box).items() if number > before[name]}
        if not more:
            return
        time.sleep(0.03)
    assert more == {}, f"there were {before}"


def test_failures_and_force_leave_nothing(box: Box) -> None:
    box.run(specification("true"))
    before = settle(box)
    wrong = specification("true")
    wrong["mounts"].append({"destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"]})
    late = specification("true")
    late["mounts"].append({"destination": "/x", "type": "tmpfs", "options": ["size=lots"]})
    for spec in (wrong, late):
        for _ in range(10):
            box.write("one", spec)
            with pytest.raises(ProcessFailed):
                client.create(box.layout, "one")
    for _ in range(10):
        box.begin("one", specification("sleep", "600"))
        client.delete(box.layout, "one", force=True)
    assert_no_more(box, before)


def test_exec_leaves_nothing_in_the_monitor(box: Box) -> None:
    from tests.process.test_exec import command, enter

    box.begin("one", specification("sleep", "600"))
    seen = client.read_process(box.layout, "one")
    assert seen is not None
    descriptors = Path(f"/proc/{seen.monitor_pid}/fd")
    enter(box, command("true"))
    before = len(list(descriptors.iterdir()))
    for _ in range(10):
        enter(box, command("true"))
        with pytest.raises(ProcessFailed):
            enter(box, {**command(""), "args": ["gone"]})
    children = Path(f"/proc/{seen.monitor_pid}/task/{seen.monitor_pid}/children").read_text().split()
    # the last connection is closed after its answer is read
    wait_until(lambda: len(list(descriptors.iterdir())) <= before)
    assert children == [str(seen.pid)]


def test_nothing_of_an_engine_remains_without_its_launcher(box: Box) -> None:
    box.run(specification("true"))
    client.stop_launcher(box.layout)
    assert cgroup_directories(f"trimtab-{box.layout.engine_id}") == []
    assert not box.layout.launcher_socket.exists()
