"""Sets on a real engine: shared objects, pruning, the lock, conflicts with the host; and that nothing leaks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from reconciler.lock import engine_lock
from reconciler.prune import Pruning
from schemas.errors import Invalid, RetryLater
from tests.conftest import EMULATED
from tests.machine.machine import Machine, results, told, until

pytestmark = pytest.mark.kernel
PRUNE = Pruning(enabled=True)

NETWORK = """
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: front}
spec: {}
"""
VOLUME = """
---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: data}
spec: {}
"""


def container(name: str, more: str = "") -> str:
    spec = f"{{image: busybox, init: true, networks: [front]{more}}}"
    return f"\n---\napiVersion: trimtab/v1\nkind: Container\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def on_default(name: str) -> str:
    return (
        f"apiVersion: trimtab/v1\nkind: Container\nmetadata: {{name: {name}}}\nspec: {{image: busybox, init: true}}\n"
    )


def test_a_renamed_container_keeps_its_volumes_data(machine: Machine) -> None:
    machine.converge(machine.image + NETWORK + VOLUME + container("old", ', volumes: ["data:/data"]'))
    machine.inside("old", "/bin/sh", "-c", "echo precious > /data/file")
    machine.converge(machine.image + NETWORK + VOLUME + container("new", ', volumes: ["data:/data"]'), pruning=PRUNE)
    assert machine.containers() == ["new"]
    assert machine.inside("new", "/bin/cat", "/data/file") == "precious\n"


def test_a_pruned_volume_leaves_its_data_and_finds_it_again(machine: Machine) -> None:
    machine.converge(machine.image + VOLUME)
    data = machine.layout.volumes / "data" / "_data" / "file"
    data.write_text("precious")
    machine.converge(machine.image, pruning=PRUNE)
    assert data.read_text() == "precious"
    machine.converge(machine.image + VOLUME)
    assert data.read_text() == "precious"


def test_a_container_uses_another_sets_network_which_then_stays(machine: Machine) -> None:
    machine.converge(machine.image + NETWORK, "base")
    machine.converge(container("web"), "shop")
    outcomes = machine.delete("base")
    assert "Network/front" not in results(outcomes)
    assert machine.diff(container("web"), "shop").empty
    machine.delete("shop")
    assert "Network/front" in results(machine.delete("base"))


def test_an_implied_network_outlives_the_set_that_made_it_and_goes_with_its_last_user(machine: Machine) -> None:
    machine.converge(machine.image, "base")
    machine.converge(on_default("first"), "one")
    machine.converge(on_default("second"), "two")
    machine.delete("one")
    left = machine.diff(on_default("second"), "two")
    assert left.empty, told(left)
    assert machine.links() != []
    assert results(machine.delete("two"))["Network/default"] == "deleted"
    assert machine.sets() == ["base"]


def test_a_subnet_that_another_sets_network_was_given_is_refused_at_its_place(machine: Machine) -> None:
    machine.converge(machine.image + NETWORK, "base")
    (pool,) = machine.prepared.resolved.pools["front"]
    spec = f"{{ipam: {{config: [{{subnet: {pool.subnet}}}]}}}}"
    text = f"apiVersion: trimtab/v1\nkind: Network\nmetadata: {{name: back}}\nspec: {spec}\n"
    with pytest.raises(Invalid, match=rf"shop.yaml:4:\d+ Network/back .*overlaps {pool.subnet}, which Network/front"):
        machine.apply(text, "other")
    assert "Network/front" in results(machine.delete("base"))


def test_networks_keep_their_subnets_when_the_store_is_lost_with_its_copies(machine: Machine) -> None:
    machine.converge(machine.image, "base")
    machine.converge(on_default("first"), "one")
    machine.converge(NETWORK + container("web"), "two")
    before = {name: machine.inside(name, "/bin/hostname", "-i") for name in ("first", "web")}
    for file in machine.layout.root.glob("state.db*"):
        file.unlink()
    shutil.rmtree(machine.layout.root / "objects")
    machine.converge(machine.image, "base")
    machine.converge(NETWORK + container("web"), "two")
    machine.converge(on_default("first"), "one")
    assert {name: machine.inside(name, "/bin/hostname", "-i") for name in ("first", "web")} == before


def test_two_sets_cannot_claim_one_object(machine: Machine) -> None:
    machine.converge(machine.image + NETWORK, "base")
    with pytest.raises(Invalid, match=r"belongs to the set base \(shop.yaml:"):
        machine.apply(NETWORK, "other")


def test_a_port_that_the_host_listens_on_is_refused_before_anything_is_touched(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = machine.image + NETWORK + container("web", f', ports: ["127.0.0.1:{port}:80"]')
        with pytest.raises(Invalid, match=f"the host already listens on tcp port {port}"):
            machine.apply(text)
    assert machine.sets() == [] and machine.containers() == []
    assert not machine.layout.images.exists() or list(machine.layout.images.glob("*.json")) == []
    machine.converge(text)


def test_what_is_wrong_anywhere_leaves_everything_untouched(machine: Machine) -> None:
    with pytest.raises(Invalid, match="there is no Volume"):
        machine.apply(machine.image + NETWORK + container("web", ', volumes: ["nowhere:/data"]'))
    assert machine.sets() == []


def test_a_failure_stops_what_hangs_on_it_and_nothing_else(machine: Machine) -> None:
    text = machine.image + NETWORK + container("bad", ", command: [/no/such/program]")
    text += container("waits", ", depends_on: [bad]") + container("good")
    found = results(machine.apply(text))
    assert (found["Container/bad"], found["Container/waits"]) == ("failed", "skipped")
    assert found["Container/good"] == "created"
    assert machine.process("good").phase.value == "running"
    mended = text.replace("command: [/no/such/program]", 'command: [sleep, "100"]')
    machine.converge(mended)


def test_a_second_apply_is_told_who_holds_the_engine(machine: Machine) -> None:
    told_who = pytest.raises(RetryLater, match=f"another trimtab holds the engine: process {os.getpid()}")
    with engine_lock(machine.layout.lock), told_who, engine_lock(machine.layout.lock, wait_seconds=0.1):
        pass
    with engine_lock(machine.layout.lock, wait_seconds=0.1):
        pass


def test_a_damaged_store_is_moved_aside_and_never_written_over(machine: Machine) -> None:
    machine.layout.store.write_bytes(b"not a database" * 1000)
    machine.diff(machine.image)
    (aside,) = machine.layout.root.glob("state.db.damaged-*Z")
    assert aside.read_bytes() == b"not a database" * 1000


def counts(machine: Machine) -> dict[str, int]:
    """What rounds of making and removing could leave behind, on the machine and in this process."""
    table = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return {
        "mounts": Path("/proc/self/mountinfo").read_text().count(f"{machine.layout.root.parent}/"),
        "links": len(machine.links()),
        "cgroups": len(machine.cgroups()),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "rules": len(table.splitlines()),
        "files": sum(1 for top in (machine.layout.root, machine.layout.run) for _ in top.rglob("*")),
    }


@pytest.mark.timeout(300)
def test_two_hundred_rounds_leave_nothing(machine: Machine) -> None:
    without = machine.image + NETWORK
    with_one = without + container("one", ', stop_signal: SIGKILL, ports: ["127.0.0.1:15000:80"]')
    for _ in range(3):
        machine.apply(with_one)
        machine.apply(without, pruning=PRUNE)
    until(lambda: len(machine.links()) == 1)
    before = counts(machine)
    for _ in range(10 if EMULATED else 200):
        assert all(outcome.ok for outcome in machine.apply(with_one))
        assert all(outcome.ok for outcome in machine.apply(without, pruning=PRUNE))
    until(lambda: len(machine.links()) == 1)
    assert counts(machine) == before, told(machine.diff(without))
