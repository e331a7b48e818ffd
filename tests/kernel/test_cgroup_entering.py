"""A process enters a cgroup by itself, with descriptors that somebody else opened, and is in every hierarchy of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.kernel import cgroup
from tests.kernel.cgroup_fixtures import ONLY_V1

pytestmark = pytest.mark.kernel


def child(path: str, *, as_nobody: bool) -> list[str]:
    """What /proc/self/cgroup says of a child that entered `path`."""
    entries = cgroup.open_entries(path)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if as_nobody:
                os.setresuid(65534, 65534, 65534)
            cgroup.enter(entries)
            os.write(writer, Path("/proc/self/cgroup").read_bytes())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    for descriptor in entries:
        os.close(descriptor)
    try:
        assert os.waitpid(pid, 0)[1] == 0
        return os.read(reader, 65536).decode().splitlines()
    finally:
        os.close(reader)


@ONLY_V1
@pytest.mark.parametrize("as_nobody", [False, True])
def test_it_is_in_every_hierarchy_that_has_the_cgroup(path: str, as_nobody: bool) -> None:
    cgroup.create(path, {"pids": {"limit": 9}})
    inside = {line.split(":")[1] for line in child(path, as_nobody=as_nobody) if line.endswith(f":{path}")}
    assert {"memory", "pids", "freezer", "devices"} <= inside


@ONLY_V1
def test_no_such_cgroup(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        cgroup.open_entries(path)


def test_join_moves_the_caller(path: str) -> None:
    cgroup.create(path, {})
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            cgroup.join(path)
            status = 0 if cgroup.processes(path) == [os.getpid()] else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
