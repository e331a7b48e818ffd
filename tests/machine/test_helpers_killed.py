"""SIGKILL of the engine's helpers, one by one and several at once: one apply converges, nothing is there twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.process import standby
from runtime.process.records import Phase
from tests.machine.answering import NAMES, SHOP, dns, expect_answers, helpers, kill, open_shop
from tests.machine.machine import Machine, until
from tests.machine.probe import container, own_machine

pytestmark = pytest.mark.kernel

GROWN = SHOP.replace("replicas: 2", "replicas: 3")


@pytest.fixture(scope="module")
def shop(busybox_tree: Path) -> Iterator[Machine]:
    """For all tests of this module: each leaves it converged."""
    with own_machine(busybox_tree) as made:
        open_shop(made)
        yield made


def called(machine: Machine, comm: str) -> list[int]:
    """The helpers of that name (comm of proc(5))."""
    found = {pid: Path(f"/proc/{pid}/comm") for pid in helpers(machine)}
    return [pid for pid, file in found.items() if file.exists() and file.read_text().strip() == comm]


def monitors(machine: Machine) -> list[int]:
    return [machine.process(name).monitor_pid for name in NAMES]


def launchers(machine: Machine) -> list[int]:
    """The launcher and its zygote, and what waits for the next container; no monitor of one that runs."""
    return [pid for pid in helpers(machine) if pid not in monitors(machine)]


def inits(machine: Machine) -> list[int]:
    return [machine.process(name).pid for name in NAMES]


def waiting_inits(machine: Machine) -> list[int]:
    """Made in advance, for the next container."""
    if not standby.can_wait():
        pytest.skip("about cgroup v1: on v2 an init is born in its container's cgroup, so none waits")
    until(lambda: bool(called(machine, "trimtab-init")))
    return called(machine, "trimtab-init")


def zygotes(machine: Machine) -> list[int]:
    return called(machine, "trimtab-zygote")


Victims = Callable[[Machine], list[int]]

KILLED: dict[str, tuple[Victims, ...]] = {
    "a monitor": (lambda machine: monitors(machine)[:1],),
    "every monitor": (monitors,),
    "the launcher and all that waits in it": (launchers,),
    "the launcher's zygote": (zygotes,),
    "the inits that wait for the next container": (waiting_inits,),
    "the DNS server": (lambda machine: [dns(machine)],),
    "the launcher and a monitor": (launchers, lambda machine: monitors(machine)[1:2]),
    "a monitor and its init": (lambda machine: [*monitors(machine)[:1], *inits(machine)[:1]],),
    "every helper": (helpers, lambda machine: [dns(machine)]),
    "everything": (helpers, inits, lambda machine: [dns(machine)]),
}


@pytest.mark.parametrize("victims", KILLED.values(), ids=KILLED)
def test_after(shop: Machine, victims: tuple[Victims, ...]) -> None:
    doomed = {pid for choose in victims for pid in choose(shop)}
    assert doomed
    kill(*doomed)
    # one container more than lived before: what waits for the next one is as good as ever
    shop.converge(shop.image + GROWN)
    assert shop.containers() == sorted([*NAMES, "web-3"])
    shop.converge(shop.image + SHOP)
    expect_answers(shop)
    assert not doomed & set(helpers(shop))


def test_whoever_is_killed_time_and_again_an_apply_converges(shop: Machine) -> None:
    chance = random.Random(11)
    for _ in range(4):
        everybody = [*helpers(shop), *inits(shop), dns(shop)]
        kill(*chance.sample(everybody, chance.randint(1, len(everybody))))
        shop.converge(shop.image + SHOP)
    expect_answers(shop)


def test_containers_whose_helpers_were_all_killed_can_be_deleted(shop: Machine) -> None:
    kill(*helpers(shop), dns(shop))
    assert all(outcome.ok for outcome in shop.delete())
    assert shop.containers() == [] and shop.cgroups() == []


def test_an_init_that_waits_for_its_start_and_is_killed_waits_again(machine: Machine) -> None:
    waiting = container("patient", state="created", network_mode="none")
    machine.converge(machine.image + waiting)
    before = machine.process("patient")
    assert before.phase is Phase.CREATED
    kill(before.pid)
    until(lambda: machine.process("patient").phase is Phase.EXITED if "patient" in machine.containers() else True)
    machine.converge(machine.image + waiting)
    assert machine.process("patient").phase is Phase.CREATED


def test_an_init_that_waits_for_its_start_and_whose_monitor_is_killed_waits_anew_and_starts(machine: Machine) -> None:
    waiting = container("patient", state="created", network_mode="none")
    machine.converge(machine.image + waiting)
    kill(*[pid for pid in helpers(machine) if pid != machine.process("patient").pid])
    machine.converge(machine.image + waiting)
    assert machine.process("patient").phase is Phase.CREATED
    machine.converge(machine.image + waiting.replace('"created"', '"running"'))
    assert machine.process("patient").phase is Phase.RUNNING
