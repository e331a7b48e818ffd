"""A volume on an NFS server: mounted by its manifest, told and mounted again; one that is gone holds nobody up.

In their order: the tests live with one server, which ends and comes back.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from runtime.kernel.mountinfo import Mount
from runtime.volumes import mounting, remote
from runtime.volumes.volume import volume_path
from tests.machine.machine import Machine, told
from tests.machine.probe import container, document, own_machine, refusal, run
from tests.volumes.nfs_server import NfsServer, nfs_server, require_nfs

pytestmark = pytest.mark.kernel

SHARE = {"type": "nfs", "o": "addr=127.0.0.1,nosuid", "device": ":/"}


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    require_nfs()


@pytest.fixture(scope="module")
def machine(busybox_tree: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree, nullcontext) as made:
        yield made


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def server(machine: Machine, exported: Path) -> Iterator[NfsServer]:
    with nfs_server(exported) as made:
        yield made


def manifests(machine: Machine) -> str:
    return machine.image + share("share") + container("writer", network_mode="none", volumes=["share:/data"])


def share(name: str) -> str:
    return document("Volume", name, driver_opts=SHARE)


def seen(machine: Machine, name: str = "share") -> Mount | None:
    return mounting.seen_at(volume_path(machine.layout, name))


@pytest.mark.vm
def test_what_a_container_writes_lies_on_the_server(machine: Machine, server: NfsServer, exported: Path) -> None:
    machine.converge(manifests(machine))
    run(machine, "writer", "sh", "-c", "echo written > /data/mark")
    assert (exported / "mark").read_text() == "written\n"
    mount = seen(machine)
    assert mount is not None
    assert mount.fstype == "nfs4"
    assert "vers=4.2" in mount.super_options.split(",")


@pytest.mark.vm
def test_a_share_that_was_unmounted_is_told_and_mounted_again(machine: Machine, server: NfsServer) -> None:
    subprocess.run(["umount", "-l", volume_path(machine.layout, "share")], check=True)
    plan = told(machine.diff(manifests(machine)))
    assert any("drift: mount: not mounted → mounted" in line for line in plan), plan
    machine.converge(manifests(machine))
    assert run(machine, "writer", "cat", "/data/mark") == "written\n"


@pytest.mark.vm
def test_a_server_that_is_gone_is_told_and_holds_nobody_up(
    machine: Machine, server: NfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 1.0)
    server.stop()
    assert machine.diff(manifests(machine)).empty
    more = share("other") + container("reader", network_mode="none", volumes=["share:/data"])
    outcomes = machine.apply(manifests(machine) + more)
    errors = {outcome.action.key.name: str(outcome.error) for outcome in outcomes if not outcome.ok}
    assert errors.keys() == {"other", "reader"}
    assert "nobody answers at 127.0.0.1 port 2049: Connection refused" in errors["other"]
    assert "no answer within 1 s" in errors["reader"]


@pytest.mark.vm
def test_a_share_goes_on_when_its_server_is_back(machine: Machine, server: NfsServer) -> None:
    server.start()
    machine.converge(manifests(machine))
    assert run(machine, "writer", "cat", "/data/mark") == "written\n"


@pytest.mark.vm
def test_a_deleted_share_is_unmounted_and_its_files_stay(machine: Machine, server: NfsServer, exported: Path) -> None:
    assert [str(outcome.error) for outcome in machine.delete() if not outcome.ok] == []
    assert seen(machine) is None
    assert (exported / "mark").read_text() == "written\n"


def test_a_share_without_its_server_can_be_deleted(
    machine: Machine, server: NfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 6.0)
    machine.converge(manifests(machine))
    server.stop()
    assert [str(outcome.error) for outcome in machine.delete() if not outcome.ok] == []
    assert seen(machine) is None


def test_an_export_that_is_not_there_is_refused_by_name(machine: Machine, server: NfsServer) -> None:
    server.start()
    lost = document("Volume", "lost", driver_opts={**SHARE, "device": ":/lost"})
    assert "nfs :/lost: No such file or directory" in refusal(machine, lost)
