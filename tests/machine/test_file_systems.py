"""The engine's directories on a file system that cannot show a container other ids."""

from __future__ import annotations

import pytest

from runtime.kernel import mount
from tests.machine.machine import Machine
from tests.machine.probe import container

pytestmark = [pytest.mark.kernel, pytest.mark.vm]


@pytest.mark.parametrize("kind", ["ramfs", "tmpfs"])
def test_a_file_system_that_cannot_be_id_mapped_is_refused_with_a_remedy_that_works(
    machine: Machine, kind: str
) -> None:
    mount.mount(kind, str(machine.layout.root), kind)
    outcomes = machine.apply(machine.image + container("plain"))
    failed = [str(outcome.error) for outcome in outcomes if not outcome.ok]
    if kind == "tmpfs" and not failed:
        # since Linux 6.3
        return
    (said,) = failed
    assert "Container/plain spec.userns_mode" in said
    assert f"this kernel cannot id-map {kind}" in said
    assert "--root" in said and "userns_mode: host" in said
    machine.converge(machine.image + container("plain", userns_mode="host"))
    assert machine.inside("plain", "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]
