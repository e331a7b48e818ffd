"""Namespaces that are not new: joined ones, the host's own, and clocks set before anybody lives by them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.process import client
from runtime.process.failure import ProcessFailed
from tests.process.bundles import in_host_users, specification
from tests.process.conftest import Box
from tests.process.test_exec import command, enter

pytestmark = pytest.mark.kernel


def joining(spec: dict[str, Any], **paths: str) -> dict[str, Any]:
    """The specification with some namespaces joined by path."""
    entries = [entry for entry in spec["linux"]["namespaces"] if entry["type"] not in paths]
    spec["linux"]["namespaces"] = entries + [{"type": kind, "path": path} for kind, path in paths.items()]
    return spec


def without(spec: dict[str, Any], *kinds: str) -> dict[str, Any]:
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] not in kinds]
    return spec


def of(box: Box, name: str, file: str) -> str:
    seen = client.read_process(box.layout, name)
    assert seen is not None
    return str(Path(f"/proc/{seen.pid}/ns/{file}").readlink())


@pytest.fixture
def first(box: Box) -> Iterator[Box]:
    """A box in which a container `first` runs."""
    box.begin("first", specification("sleep", "600"))
    yield box


def path(box: Box, file: str) -> str:
    seen = client.read_process(box.layout, "first")
    assert seen is not None
    return f"/proc/{seen.pid}/ns/{file}"


def test_the_network_of_another_container_is_joined(first: Box) -> None:
    spec = joining(specification("sleep", "600"), network=path(first, "net"))
    first.begin("one", spec)
    assert of(first, "one", "net") == of(first, "first", "net")
    assert of(first, "one", "pid") != of(first, "first", "pid")
    assert enter(first, command("ip -o link | wc -l"))[1].strip() == "1"


def test_processes_and_messages_of_another_container_are_joined(first: Box) -> None:
    spec = joining(specification("sleep", "601"), pid=path(first, "pid"), ipc=path(first, "ipc"))
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "mqueue"]
    first.begin("one", spec)
    assert of(first, "one", "pid") == of(first, "first", "pid")
    assert of(first, "one", "ipc") == of(first, "first", "ipc")
    record = client.stop(first.layout, "one", 9, 10)
    assert record.signal == 9
    seen = client.read_process(first.layout, "first")
    assert seen is not None
    assert seen.phase.can_exec


@pytest.mark.vm
def test_users_and_network_of_another_container_are_joined_together(first: Box) -> None:
    spec = joining(
        specification("sh", "-c", "ip link set lo down && ip link set lo up && echo mine"),
        user=path(first, "user"),
        network=path(first, "net"),
    )
    caps = ["CAP_NET_ADMIN"]
    spec["process"]["capabilities"] = {"bounding": caps, "permitted": caps, "effective": caps}
    record, text = first.run(spec)
    assert (record.exit_code, text) == (0, "mine\n")


def test_a_named_network_namespace_is_joined(box: Box) -> None:
    name = f"tt{box.layout.engine_id}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "add", "ttone", "type", "bridge"], check=True)
        spec = joining(specification("ip", "-o", "link"), network=f"/run/netns/{name}")
        assert "ttone" in box.run(spec)[1]
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_a_path_that_is_no_namespace_is_named(box: Box) -> None:
    box.write("one", joining(specification("true"), network="/etc/passwd"))
    with pytest.raises(ProcessFailed) as caught:
        client.create(box.layout, "one")
    assert (caught.value.step, caught.value.path) == ("join network namespace", "/etc/passwd")


def test_the_hosts_network_shows_with_its_sysfs(box: Box) -> None:
    spec = without(specification("sh", "-c", "ls /sys/class/net | wc -l; touch /sys/x 2>&1"), "network")
    record, text = box.run(spec)
    lines = text.splitlines()
    assert int(lines[0]) == len(list(Path("/sys/class/net").iterdir()))
    assert record.exit_code != 0


def test_the_hosts_processes_show_and_all_of_the_container_end_with_it(box: Box) -> None:
    spec = without(in_host_users(specification("sh", "-c", "sleep 612 & sleep 0.2; echo $$; exit 3")), "pid")
    record, text = box.run(spec)
    assert record.exit_code == 3
    assert int(text) > 1
    assert "sleep\0612\0" not in all_command_lines()


def all_command_lines() -> str:
    found = ""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += entry.read_text()
        except (OSError, UnicodeDecodeError):
            continue
    return found


def test_names_and_messages_of_the_host_are_shared_where_asked(box: Box) -> None:
    spec = without(specification("hostname"), "uts", "ipc")
    del spec["hostname"]
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "mqueue"]
    record, text = box.run(spec)
    assert (record.exit_code, text.strip()) == (0, os.uname().nodename)


@pytest.mark.vm
def test_clocks_are_set_back(box: Box) -> None:
    spec = specification("sh", "-c", "cut -d. -f1 /proc/uptime")
    spec["linux"]["namespaces"].append({"type": "time"})
    spec["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000, "nanosecs": 0}}
    assert int(box.run(spec)[1]) >= 1_000_000


def test_a_kind_twice_or_unknown_is_refused(box: Box) -> None:
    for entry in ({"type": "user"}, {"type": "imaginary"}):
        spec = specification("true")
        spec["linux"]["namespaces"].append(entry)
        box.write("one", spec)
        with pytest.raises(ProcessFailed, match="unknown or repeated"):
            client.create(box.layout, "one")


def test_without_a_mount_namespace_nothing_is_made(box: Box) -> None:
    box.write("one", without(specification("true"), "mount"))
    with pytest.raises(ProcessFailed, match="needs a mount namespace"):
        client.create(box.layout, "one")
