"""Whatever somebody does to the machine shows in `diff` as drift, and `apply` repairs it. Each sentence of the list."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.actions import Plan
from reconciler.engine import Engine
from reconciler.observe import containers
from reconciler.store.records import Record
from runtime.kernel import cgroup
from runtime.kernel.process import send_signal, start_time
from runtime.layout import Layout
from runtime.network.dns.process import read_dns
from runtime.network.firewall.publications import unpublish
from runtime.process import client
from runtime.process.records import Phase
from schemas.names import Key, Kind
from tests.machine.answering import GET, SERVE, output
from tests.machine.machine import Machine, told, until
from tests.machine.probe import container, document

pytestmark = pytest.mark.kernel

SHOP = """
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: front}
spec: {}
---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: data}
spec: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m"}}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: db}
spec:
  image: busybox
  init: true
  mem_limit: 64m
  pids_limit: 100
  volumes: ["data:/data"]
  networks: [front]
  ports: ["127.0.0.1:15432:5432"]
---
apiVersion: trimtab/v1
kind: Service
metadata: {name: web}
spec:
  image: busybox
  init: true
  networks: [front]
  ports: ["18080:80"]
  deploy: {replicas: 2}
"""


SERVED = (
    document("Network", "front", ipam={"config": [{"subnet": "10.77.0.0/24"}, {"subnet": "fd77::/64"}]})
    + document(
        "Service",
        "web",
        image="busybox",
        init=True,
        networks=["front"],
        command=["/bin/sh", "-c", SERVE],
        deploy={"replicas": 2},
    )
    + container("asker", networks=["front"])
)
"""Replicas that answer with their name, and one that asks them."""


@pytest.fixture
def shop(machine: Machine) -> Machine:
    machine.converge(machine.image + SHOP)
    return machine


def drifts(plan: Plan) -> list[str]:
    return [str(change.describe()) for action in plan.effective for change in action.changes if change.drift]


def expect_drift_and_repair(shop: Machine, word: str, key: str) -> None:
    plan = shop.diff(shop.image + SHOP)
    assert any(word in line for line in drifts(plan)), told(plan)
    assert key in {str(action.key) for action in plan.effective}, told(plan)
    shop.converge(shop.image + SHOP)


def link(layout: Layout, kind: str, name: str) -> str:
    return layout.link(kind, name)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


def test_an_init_that_was_killed_runs_again(shop: Machine) -> None:
    before = shop.process("db")
    send_signal(before.pid, before.start_time, signal.SIGKILL)
    client.wait(shop.layout, "db", 10)
    expect_drift_and_repair(shop, "process: killed by signal 9 → running", "Container/db")
    assert shop.process("db").pid != before.pid


def test_a_process_that_ends_while_it_is_looked_at_is_told_as_its_end_alone(
    shop: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what it had is gone then, which is no drift."""
    before, limits_of = shop.process("db"), containers._limits

    def end_meanwhile(engine: Engine, record: Record) -> Mapping[str, Any]:
        if record.key.name == "db":
            send_signal(before.pid, before.start_time, signal.SIGKILL)
            until(lambda: start_time(before.pid) is None)
        return limits_of(engine, record)

    monkeypatch.setattr(containers, "_limits", end_meanwhile)
    changes = [change for action in shop.diff(shop.image + SHOP).effective for change in action.changes]
    assert changes and all(change.path[0] == "process" for change in changes)


def test_a_container_whose_monitor_was_killed_is_started_again_under_a_new_one(shop: Machine) -> None:
    before = shop.process("db")
    send_signal(before.monitor_pid, before.monitor_start_time, signal.SIGKILL)
    until(lambda: not client.has_monitor(before))
    expect_drift_and_repair(shop, "monitor: (none) → present", "Container/db")
    after = shop.process("db")
    assert client.has_monitor(after) and after.pid != before.pid


def test_an_end_that_no_monitor_saw_is_told_as_unknown_and_the_container_runs_again(shop: Machine) -> None:
    before = shop.process("db")
    send_signal(before.monitor_pid, before.monitor_start_time, signal.SIGKILL)
    send_signal(before.pid, before.start_time, signal.SIGKILL)
    until(lambda: shop.process("db").phase is Phase.EXITED)
    ended = shop.process("db").exit
    assert ended is not None and ended.exit_code is None
    expect_drift_and_repair(shop, "process: ended, nobody saw how → running", "Container/db")


def test_a_cgroup_limit_edited_by_hand_is_set_back(shop: Machine) -> None:
    path = shop.layout.cgroup("db")
    cgroup.write_limits(path, {"pids": {"limit": 7}})
    expect_drift_and_repair(shop, "limits.pids.limit: 7 → 100", "Container/db")
    assert cgroup.read_limits(path)["pids"]["limit"] == 100


def test_a_limit_nobody_asked_for_is_taken_away(shop: Machine) -> None:
    path = shop.layout.cgroup("db")
    cgroup.write_limits(path, {"cpu": {"shares": 512}})
    # v2 has weights, which are coarser
    kept = cgroup.read_limits(path)["cpu"]["shares"]
    expect_drift_and_repair(shop, f"other_limits: cpu.shares = {kept} → none", "Container/db")


def test_a_deleted_bridge_comes_back_and_its_containers_are_plugged_again(shop: Machine) -> None:
    ip("link", "delete", link(shop.layout, "b", "front"))
    expect_drift_and_repair(shop, "link: (none) →", "Network/front")
    plugged = shop.inside("db", "/bin/cat", "/sys/class/net/eth0/operstate")
    assert plugged.strip() == "up"


@pytest.fixture
def served(machine: Machine) -> Machine:
    machine.converge(machine.image + SERVED)
    return machine


def virtual_addresses(served: Machine) -> list[str]:
    want = served.prepared.context.desired[Key(Kind.SERVICE, "web")]
    return list(want.facts["balance"]["front"]["virtual"])


def expect_service_answers(served: Machine) -> None:
    """From another container, in both families."""
    enter = ["nsenter", "-t", str(served.process("asker").pid), "-n", sys.executable, "-S", "-E", "-c", GET]
    v4, v6 = sorted(virtual_addresses(served), key=lambda address: ":" in address)
    for host in (v4, f"[{v6}]"):
        until(lambda host=host: output(*enter, f"http://{host}/") in ("web-1\n", "web-2\n"))  # type: ignore[misc]


def test_a_service_answers_again_after_its_bridge_was_deleted(served: Machine) -> None:
    expect_service_answers(served)
    before = served.process("web-1").pid
    ip("link", "delete", link(served.layout, "b", "front"))
    plan = served.diff(served.image + SERVED)
    assert any("balance.front.virtual: (none) → " in line for line in drifts(plan)), told(plan)
    served.converge(served.image + SERVED)
    expect_service_answers(served)
    assert served.process("web-1").pid == before


@pytest.mark.parametrize("version", [4, 6])
def test_a_virtual_address_taken_from_its_bridge_comes_back(served: Machine, version: int) -> None:
    (gone,) = [address for address in virtual_addresses(served) if (":" in address) == (version == 6)]
    ip("address", "delete", f"{gone}/{128 if version == 6 else 32}", "dev", link(served.layout, "b", "front"))
    plan = served.diff(served.image + SERVED)
    assert [str(action.key) for action in plan.effective] == ["Service/web"], told(plan)
    assert any("balance.front.virtual: " in line and gone in line for line in drifts(plan)), told(plan)
    served.converge(served.image + SERVED)
    expect_service_answers(served)


def test_a_service_answers_on_a_network_that_was_made_anew_for_its_manifest(served: Machine) -> None:
    reserved = SERVED.replace('"10.77.0.0/24"', '"10.77.0.0/24", "aux_addresses": {"printer": "10.77.0.99"}')
    assert "± Network/front" in told(served.diff(served.image + reserved))[0]
    addresses = virtual_addresses(served)
    assert all(outcome.ok for outcome in served.apply(served.image + reserved))
    left = served.diff(served.image + reserved)
    assert Key(Kind.SERVICE, "web") not in {action.key for action in left.effective}, told(left)
    assert virtual_addresses(served) == addresses
    expect_service_answers(served)


def test_an_address_removed_inside_a_container_is_added_again(shop: Machine) -> None:
    pid = str(shop.process("db").pid)
    subprocess.run(["nsenter", "-t", pid, "-n", "ip", "addr", "flush", "dev", "eth0"], check=True)
    expect_drift_and_repair(shop, "endpoints.front.addresses", "Container/db")


def test_a_removed_veth_is_plugged_again(shop: Machine) -> None:
    pid = str(shop.process("db").pid)
    subprocess.run(["nsenter", "-t", pid, "-n", "ip", "link", "delete", "eth0"], check=True)
    expect_drift_and_repair(shop, "endpoints.front: (none) →", "Container/db")
    assert "eth0" in shop.inside("db", "/bin/ls", "/sys/class/net")


def test_a_flushed_nftables_table_is_written_again(shop: Machine) -> None:
    nft("delete", "table", "inet", shop.layout.nft_table)
    plan = shop.diff(shop.image + SHOP)
    assert {"Network/front", "Container/db", "Service/web"} <= {str(action.key) for action in plan.effective}
    assert drifts(plan)
    shop.converge(shop.image + SHOP)


def test_one_deleted_rule_is_noticed_and_restored(shop: Machine) -> None:
    listing = nft("-a", "list", "table", "inet", shop.layout.nft_table)
    chain, handle = first_rule(listing)
    nft("delete", "rule", "inet", shop.layout.nft_table, chain, "handle", handle)
    expect_drift_and_repair(shop, "firewall.rules: damaged → complete", "Network/front")


def first_rule(listing: str) -> tuple[str, str]:
    chain = ""
    for line in listing.splitlines():
        text = line.strip()
        if text.startswith("chain "):
            chain = text.split()[1]
        elif chain and "# handle" in text and not text.startswith(("type ", "chain ")):
            return chain, text.rpartition(" ")[2]
    raise AssertionError(listing)


def test_a_published_port_taken_out_of_the_firewall_comes_back(shop: Machine) -> None:
    unpublish(shop.layout, "db")
    expect_drift_and_repair(shop, "published", "Container/db")


def test_an_unmounted_volume_is_mounted_again(shop: Machine) -> None:
    subprocess.run(["umount", shop.layout.volumes / "data" / "_data"], check=True)
    expect_drift_and_repair(shop, "mount: ", "Volume/data")


def test_a_volume_unmounted_inside_a_container_restarts_it(shop: Machine) -> None:
    pid = str(shop.process("db").pid)
    subprocess.run(["nsenter", "-t", pid, "-m", "umount", "/data"], check=True)
    expect_drift_and_repair(shop, 'mounts["/data"]: (none) → mounted', "Container/db")


def test_a_removed_layer_is_made_again(shop: Machine) -> None:
    layer = next(path for path in shop.layout.layers.iterdir() if len(path.name) == 64)
    shutil.rmtree(layer)
    expect_drift_and_repair(shop, "content: ", "Image/busybox")
    assert shop.inside("db", "/bin/echo", "alive") == "alive\n"


def test_a_removed_blob_is_made_again(shop: Machine) -> None:
    for blob in (shop.layout.blobs / "sha256").iterdir():
        blob.unlink()
    expect_drift_and_repair(shop, "content: ", "Image/busybox")


def test_a_killed_dns_process_answers_again(shop: Machine) -> None:
    pid = read_dns(shop.layout).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    expect_drift_and_repair(shop, "dns: stopped → answering", "Network/front")
    assert read_dns(shop.layout).alive


def test_a_removed_state_directory_replaces_the_container(shop: Machine) -> None:
    shutil.rmtree(shop.layout.container("db"))
    expect_drift_and_repair(shop, "bundle: (none) → present", "Container/db")
    assert Path(shop.layout.container("db") / "config.json").exists()


def test_a_second_apply_does_nothing(shop: Machine) -> None:
    outcomes = shop.apply(shop.image + SHOP)
    assert {outcome.result.value for outcome in outcomes} == {"unchanged"}
