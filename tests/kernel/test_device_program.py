"""The device program on the real kernel: loaded, attached to a v2 cgroup, obeyed, replaced, read back."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel import bpf, cgroup
from runtime.kernel.cgroup import devices_v2
from runtime.kernel.cgroup.device_program import assemble
from runtime.kernel.cgroup.devices import ALLOW_ALL, Device, Policy, container_policy
from tests.conftest import missing

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

ZERO, FULL = Device("c", 1, 5), Device("c", 1, 7)


@pytest.fixture
def directory() -> Iterator[str]:
    """A cgroup in the unified hierarchy, which a hybrid machine has too."""
    mount = cgroup.hierarchies().unified
    if mount is None:
        missing("a cgroup2 mount")
    made = Path(f"{mount}/trimtab-test{secrets.token_hex(4)}")
    made.mkdir()
    try:
        yield str(made)
    finally:
        made.rmdir()


def works(directory: str, command: str) -> bool:
    """Whether the shell command succeeds in the cgroup."""
    join = f"echo 0 > {directory}/cgroup.procs && {command}"
    return subprocess.run(["/bin/sh", "-c", join], capture_output=True, check=False).returncode == 0


def test_only_what_the_policy_allows_can_be_opened(directory: str) -> None:
    devices_v2.write(directory, Policy(False, ((ZERO, "r"),)))
    assert works(directory, ": < /dev/zero")
    assert not works(directory, ": > /dev/zero")
    assert not works(directory, ": < /dev/full")


def test_an_allowing_default_with_exceptions_denies_just_those(directory: str) -> None:
    devices_v2.write(directory, Policy(True, ((ZERO, "w"),)))
    assert works(directory, ": < /dev/zero")
    assert not works(directory, ": > /dev/zero")
    assert works(directory, ": < /dev/full")


def test_making_a_node_is_an_access_of_its_own(directory: str, tmp_path: Path) -> None:
    devices_v2.write(directory, Policy(False, ((ZERO, "rw"), (FULL, "m"))))
    assert works(directory, f"mknod {tmp_path}/full c 1 7")
    assert not works(directory, f"mknod {tmp_path}/zero c 1 5")
    assert not works(directory, f": < {tmp_path}/full")


def test_what_is_attached_is_read_back(directory: str) -> None:
    assert devices_v2.read(directory) == ALLOW_ALL
    for policy in (container_policy([]), Policy(True, ((ZERO, "w"), (FULL, "rm"))), Policy(False)):
        devices_v2.write(directory, policy)
        assert devices_v2.read(directory) == policy


def test_a_replaced_program_is_gone(directory: str) -> None:
    devices_v2.write(directory, Policy(False))
    fd = os.open(directory, os.O_RDONLY)
    try:
        (first,) = bpf.attached(fd)
        devices_v2.write(directory, ALLOW_ALL)
        (second,) = bpf.attached(fd)
    finally:
        os.close(fd)
    assert first != second
    assert works(directory, ": < /dev/full")


def test_a_program_taken_away_or_added_by_hand_is_seen(directory: str) -> None:
    devices_v2.write(directory, Policy(False))
    fd = os.open(directory, os.O_RDONLY)
    program = bpf.load_device_program(assemble(ALLOW_ALL), "by_hand")
    try:
        bpf.attach(fd, program)
        assert devices_v2.read(directory) is None
        devices_v2.write(directory, Policy(False))
        assert devices_v2.read(directory) == Policy(False)
        ours = bpf.program_by_id(bpf.attached(fd)[0])
        bpf.detach(fd, ours)
        bpf.detach(fd, ours)
        os.close(ours)
        assert devices_v2.read(directory) == ALLOW_ALL
    finally:
        os.close(program)
        os.close(fd)


def test_no_descriptor_stays_open(directory: str) -> None:
    devices_v2.write(directory, Policy(False))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        devices_v2.write(directory, container_policy([]))
        devices_v2.read(directory)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
