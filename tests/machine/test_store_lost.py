"""The store is lost or damaged while containers run: the next apply finds everything as it was, and touches nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.prune import Pruning
from tests.machine.answering import NAMES, SHOP, expect_answers, open_shop
from tests.machine.machine import Machine, results, told
from tests.machine.probe import container, own_machine

pytestmark = pytest.mark.kernel

PAGE = 4096
PRUNING = Pruning(enabled=True)


@pytest.fixture(scope="module")
def shop(busybox_tree: Path) -> Iterator[Machine]:
    """For all tests of this module: each leaves it converged."""
    with own_machine(busybox_tree) as made:
        open_shop(made)
        yield made


def remove(store: Path) -> None:
    for each in store.parent.glob("state.db*"):
        each.unlink()


def truncate(store: Path) -> None:
    store.write_bytes(b"")


def overwrite(store: Path) -> None:
    store.write_bytes(random.Random(7).randbytes(store.stat().st_size))


def turn_pages(store: Path) -> None:
    data = bytearray(store.read_bytes())
    for at in range(PAGE, len(data), PAGE):
        data[at : at + PAGE] = data[at : at + PAGE][::-1]
    store.write_bytes(data)


def processes(machine: Machine) -> dict[str, tuple[int, int]]:
    found = {name: machine.process(name) for name in NAMES}
    return {name: (process.pid, process.start_time) for name, process in found.items()}


def addresses(machine: Machine) -> dict[str, str]:
    return {name: machine.inside(name, "/bin/hostname", "-i") for name in NAMES}


@pytest.mark.parametrize("harm", [remove, truncate, overwrite, turn_pages])
def test_everything_is_adopted_as_it_runs(
    shop: Machine, harm: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    before, at = processes(shop), addresses(shop)
    harm(shop.layout.store)
    assert told(shop.diff(shop.image + SHOP)) == []
    assert "warning: The state file " in capsys.readouterr().err
    assert {outcome.result.value for outcome in shop.apply(shop.image + SHOP)} == {"unchanged"}
    assert (processes(shop), addresses(shop)) == (before, at)
    assert (shop.layout.volumes / "data/_data/index.html").read_text() == "precious\n"
    expect_answers(shop)


def test_a_write_ahead_log_that_is_lost_costs_nothing(shop: Machine) -> None:
    before, store = processes(shop), shop.layout.store
    older = store.read_bytes()
    shop.converge(shop.image + SHOP + container("late", networks=["front"], stop_grace_period="0s"))
    late = shop.process("late").pid
    remove(store)
    store.write_bytes(older)
    assert told(shop.diff(shop.image + SHOP + container("late", networks=["front"], stop_grace_period="0s"))) == []
    assert (processes(shop), shop.process("late").pid) == (before, late)
    shop.converge(shop.image + SHOP, pruning=PRUNING)


def test_what_the_manifests_name_no_longer_is_an_orphan_until_it_is_pruned(shop: Machine) -> None:
    shop.converge(shop.image + SHOP + container("extra", networks=["front"], stop_grace_period="0s"))
    extra = shop.process("extra").pid
    remove(shop.layout.store)
    plan = shop.diff(shop.image + SHOP)
    assert told(plan) == [] and "Container/extra" in {str(key) for key in plan.orphans}
    shop.apply(shop.image + SHOP)
    assert shop.process("extra").pid == extra
    assert results(shop.apply(shop.image + SHOP, pruning=PRUNING))["Container/extra"] == "deleted"
    expect_answers(shop)


def test_sets_stay_apart(shop: Machine) -> None:
    shop.converge(container("alien", networks=["front"], stop_grace_period="0s"), "other")
    alien = shop.process("alien").pid
    remove(shop.layout.store)
    found = results(shop.apply(shop.image + SHOP, pruning=Pruning(enabled=True)))
    assert "deleted" not in found.values()
    assert shop.process("alien").pid == alien
    assert results(shop.delete("other"))["Container/alien"] == "deleted"
    expect_answers(shop)


def test_nothing_is_pruned_where_copies_are_lost_too(shop: Machine) -> None:
    """Never by a guess: what nobody knows the set of stays as it is."""
    shop.converge(shop.image + SHOP + container("unknown", networks=["front"], stop_grace_period="0s"))
    unknown = shop.process("unknown").pid
    remove(shop.layout.store)
    for copy in ("records", "inventory"):
        (shop.layout.root / "objects" / copy / "Container.unknown").unlink()
    found = results(shop.apply(shop.image + SHOP, pruning=PRUNING))
    assert "Container/unknown" not in found and "deleted" not in found.values()
    assert shop.process("unknown").pid == unknown
    shop.converge(shop.image + SHOP + container("unknown", networks=["front"], stop_grace_period="0s"))
    shop.converge(shop.image + SHOP, pruning=PRUNING)
    expect_answers(shop)
