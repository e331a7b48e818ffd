"""After a reboot only the root directory is left: the next apply gives everything back, as it was."""

from __future__ import annotations

import pytest

from tests.machine.answering import SHOP, addresses, expect_answers, open_shop, power_off
from tests.machine.machine import Machine, told

pytestmark = pytest.mark.kernel


def test_after_a_reboot_one_apply_gives_the_same_addresses_names_and_files_and_all_answers(machine: Machine) -> None:
    open_shop(machine)
    before, pids = addresses(machine), {name: machine.process(name).pid for name in ("db", "web-1", "web-2")}
    (machine.layout.container("db") / "upper" / "written").write_text("by the container\n")
    power_off(machine)

    plan = machine.diff(machine.image + SHOP)
    assert {str(action.key) for action in plan.effective} == {
        *("Container/db", "Container/web-1", "Container/web-2"),
        *("Network/front", "Secret/password", "Service/web"),
    }, told(plan)
    assert all(not action.replaces for action in plan.effective), "its writable layers would be lost"
    machine.converge(machine.image + SHOP)
    expect_answers(machine)
    assert addresses(machine) == before
    assert machine.inside("db", "/bin/cat", "/written") == "by the container\n"
    assert all(machine.process(name).pid != pid for name, pid in pids.items())


def test_after_a_reboot_a_deletion_takes_everything_away_without_starting_anything(machine: Machine) -> None:
    open_shop(machine)
    power_off(machine)
    assert all(outcome.ok for outcome in machine.delete())
    assert machine.sets() == [] and machine.links() == [] and machine.cgroups() == []
    assert list((machine.layout.root / "containers").iterdir()) == []
    assert (machine.layout.volumes / "data/_data/index.html").read_text() == "precious\n"
