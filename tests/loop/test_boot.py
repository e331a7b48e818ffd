"""A boot at which not everything is there yet: what misses it is tried again and says so, and starts when it comes."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.cli.steering import reconcile
from reconciler.engine import open_engine
from reconciler.lock import engine_lock
from reconciler.loop.settings import LoopSettings
from reconciler.perform.absent import may_heal
from reconciler.status import Status
from reconciler.store.status import read_statuses
from runtime.process.failure import ProcessFailed
from tests.loop.driving import Driven, driven
from tests.loop.test_health import container, document, is_running
from tests.loop.test_repairs import quiet
from tests.machine.answering import power_off
from tests.machine.machine import Machine, until

pytestmark = pytest.mark.kernel

QUICK = LoopSettings(store_poll=0.05)
PARENT = "up1"


@dataclass(frozen=True)
class Cause:
    """Something of the host that a container stands on: how it comes, how it goes, the manifests that name it."""

    come: Callable[[Path], object]
    go: Callable[[Path], object]
    text: Callable[[Path], str]
    says: str
    failing: str = "Container/late"
    """Which of the objects says so."""


def mount(at: Path) -> str:
    volume = {"type": "bind", "source": str(at), "target": "/at", "bind": {"create_host_path": False}}
    return container("late", restart="always", networks=["front"], volumes=[volume])


def device(at: Path) -> str:
    return container("late", restart="always", networks=["front"], devices=[f"{at}:/dev/late"])


def volume_device(at: Path) -> str:
    options = {"type": "none", "o": "bind", "device": str(at)}
    late = container("late", restart="always", networks=["front"], volumes=["disk:/at"])
    return document("Volume", "disk", driver_opts=options) + late


def image(at: Path) -> str:
    config = {"cmd": ["sleep", "2147483647"], "env": {"PATH": "/bin"}}
    late = document("Container", "late", image="late", restart="always", stop_signal="SIGKILL", networks=["front"])
    return document("Image", "late", rootfs=str(at), config=config) + late


def address(at: Path) -> str:
    net = {"driver": "macvlan", "driver_opts": {"parent": PARENT}, "ipam": {"config": [{"subnet": "10.77.0.0/24"}]}}
    late = container("late", restart="always", networks={"lan": {"ipv4_address": "10.77.0.9"}})
    return document("Network", "lan", **net) + late


def make_node(at: Path) -> None:
    os.mknod(at, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def make_tree(at: Path) -> None:
    """An image's files, of one program."""
    (at / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    assert busybox is not None
    shutil.copy(busybox, at / "bin/sleep")


def link(*words: str) -> None:
    subprocess.run(["ip", "link", *words], check=True, capture_output=True)


CAUSES = {
    "mount": Cause(Path.mkdir, Path.rmdir, mount, "the path to mount is not there"),
    "device": Cause(make_node, Path.unlink, device, "No such file"),
    "device of a volume": Cause(Path.mkdir, Path.rmdir, volume_device, "No such file", "Volume/disk"),
    "image": Cause(make_tree, shutil.rmtree, image, "No such file", "Image/late"),
    "address": Cause(
        lambda at: link("add", PARENT, "up", "type", "veth", "peer", "name", "wire1"),
        lambda at: link("del", PARENT),
        address,
        f"the host needs a link {PARENT}",
        "Network/lan",
    ),
}


def statuses(machine: Machine) -> dict[str, Status]:
    with open_engine(machine.layout) as engine:
        return dict(read_statuses(engine.database))


def condition(machine: Machine, name: str, type: str) -> tuple[str, str, str]:
    found = statuses(machine).get(name)
    if found is None:
        return "", "", ""
    told = found.condition(type)
    return told.status, told.reason, told.message


def failures(loop: Driven) -> list[str]:
    return [str(values["error"]) for event, values in loop.told if event == "action" and values["error"]]


def lose_the_images(machine: Machine) -> None:
    for directory in (machine.layout.images, machine.layout.layers):
        shutil.rmtree(directory)


@pytest.mark.parametrize("name", CAUSES)
def test_what_is_not_there_yet_at_a_boot_is_tried_again_shown_and_started_when_it_comes(
    machine: Machine, tmp_path: Path, name: str
) -> None:
    cause, at = CAUSES[name], tmp_path / "late"
    well = document("Network", "front") + container("well", restart="always", networks=["front"])
    text = machine.image + well + cause.text(at)
    cause.come(at)
    machine.converge(text)
    power_off(machine)
    cause.go(at)
    if name == "image":
        lose_the_images(machine)
    with driven(machine.layout, QUICK) as loop:
        until(lambda: len(failures(loop)) >= 2)
        assert all(cause.says in error for error in failures(loop)), failures(loop)
        until(lambda: is_running(machine, "well"))
        assert not is_running(machine, "late")
        until(lambda: condition(machine, cause.failing, "Reconciling")[:2] == ("True", "Retrying"))
        assert cause.says in condition(machine, cause.failing, "Ready")[2]
        assert condition(machine, cause.failing, "Stalled")[0] == "False"
        cause.come(at)
        until(lambda: is_running(machine, "late"))
        loop.settle()
        until(lambda: condition(machine, "Container/late", "Ready")[0] == "True")
        assert machine.diff(text).empty
    if name == "address":
        assert "10.77.0.9/24" in machine.inside("late", "ip", "-o", "addr")


def test_what_is_refused_at_a_boot_waits_for_a_change(machine: Machine, tmp_path: Path) -> None:
    node = tmp_path / "late"
    make_node(node)
    well = machine.image + document("Network", "front")
    machine.converge(well + device(node))
    power_off(machine)
    node.unlink()
    node.write_text("no device")
    with driven(machine.layout, QUICK) as loop:
        until(lambda: condition(machine, "Container/late", "Stalled")[:2] == ("True", "Refused"))
        assert condition(machine, "Container/late", "Reconciling")[0] == "False"
        node.unlink()
        make_node(node)
        for _ in range(3):
            quiet(loop)
        assert len(failures(loop)) == 1 and "is no device" in failures(loop)[0]
        assert not is_running(machine, "late")
        assert reconcile(machine.layout, ["container/late"], 20) == 0
        until(lambda: is_running(machine, "late"))


def test_a_refusal_ends_with_another_manifest(machine: Machine, tmp_path: Path) -> None:
    node = tmp_path / "late"
    make_node(node)
    well = machine.image + document("Network", "front")
    machine.converge(well + device(node))
    power_off(machine)
    node.unlink()
    node.write_text("no device")
    with driven(machine.layout, QUICK) as loop:
        until(lambda: condition(machine, "Container/late", "Stalled")[:2] == ("True", "Refused"))
        with engine_lock(machine.layout.lock, 20):
            machine.apply(well + container("late", restart="always", networks=["front"]))
        until(lambda: is_running(machine, "late"))
        until(lambda: condition(machine, "Container/late", "Stalled")[0] == "False")
        assert len(failures(loop)) == 1


def test_a_failure_is_told_no_more_once_somebody_else_has_mended_it(machine: Machine, tmp_path: Path) -> None:
    node = tmp_path / "late"
    make_node(node)
    text = machine.image + document("Network", "front") + device(node)
    machine.converge(text)
    power_off(machine)
    node.unlink()
    node.write_text("no device")
    with driven(machine.layout, QUICK) as loop:
        until(lambda: condition(machine, "Container/late", "Stalled")[:2] == ("True", "Refused"))
        node.unlink()
        make_node(node)
        with engine_lock(machine.layout.lock, 20):
            machine.apply(text)
        quiet(loop)
        until(lambda: condition(machine, "Container/late", "Ready")[0] == "True")


def test_conditions_of_depends_on_and_unless_stopped_hold_at_a_boot(machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    (gate / "open").touch()
    front = {"networks": ["front"], "volumes": [f"{gate}:/gate:ro"]}
    check = {"test": ["CMD-SHELL", "[ -e /gate/open ]"], "interval": "50ms", "retries": 1, "start_period": "1h"}
    command = ["test", "-e", "/gate/open"]
    needs = {"db": {"condition": "service_healthy"}, "job": {"condition": "service_completed_successfully"}}
    text = (
        machine.image
        + document("Network", "front")
        + container("db", restart="unless-stopped", healthcheck={**check, "start_interval": "50ms"}, **front)
        + container("job", restart="on-failure", command=command, **front)
        + container("web", restart="unless-stopped", depends_on=needs)
        + container("down", restart="unless-stopped", state="stopped")
    )
    machine.converge(text)
    power_off(machine)
    (gate / "open").unlink()
    with driven(machine.layout, QUICK) as loop:
        until(lambda: is_running(machine, "db"))
        until(lambda: "depends_on" in condition(machine, "Container/web", "Ready")[2])
        assert not is_running(machine, "web")
        (gate / "open").touch()
        until(lambda: is_running(machine, "web"))
        before = machine.process("db").pid
        os.kill(before, signal.SIGKILL)
        until(lambda: is_running(machine, "db") and machine.process("db").pid != before)
        loop.settle()
        assert not is_running(machine, "down") and not is_running(machine, "job")
        assert condition(machine, "Container/web", "Stalled")[0] == "False"


def test_a_layer_that_is_lost_is_waited_for_and_what_cannot_be_is_not() -> None:
    lost = ProcessFailed("No such file or directory", step="layer", path="/layers/a/tree", errno=errno.ENOENT)
    assert may_heal(lost)
    assert not may_heal(ProcessFailed("No such file or directory", step="exec", path="/bin/x", errno=errno.ENOENT))


def test_a_container_starts_when_another_set_has_made_its_layer_again(machine: Machine) -> None:
    machine.converge(machine.image, "base")
    machine.converge(container("web", restart="always"), "shop")
    with driven(machine.layout, QUICK) as loop:
        process = machine.process("web")
        for tree in machine.layout.layers.glob("*/tree"):
            shutil.rmtree(tree)
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: is_running(machine, "web") and machine.process("web").pid != process.pid)
        until(lambda: machine.inside("web", "echo", "well").strip() == "well")
        loop.settle()
    assert machine.diff(machine.image, "base").empty
