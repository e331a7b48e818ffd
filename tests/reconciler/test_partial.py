"""A pass over a few objects plans for them what the whole pass plans: no more, no less."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from reconciler.actions import Plan
from reconciler.desired import Observed
from reconciler.intent import users_of
from reconciler.partial import closure, plan_part, without
from reconciler.plan import plan
from schemas.names import Key
from tests.reconciler.test_plan_properties import read, sets, wanted
from tests.reconciler.worlds import SHOP, all_converged, container, desired

SLOW = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def by_key(made: Plan) -> dict[Key, list[tuple[Any, ...]]]:
    """What is to be done about each object, without the edges to others."""
    found: dict[Key, list[tuple[Any, ...]]] = {}
    for action in made.actions:
        found.setdefault(action.key, []).append((action.verb, action.reason, action.changes, action.replaces))
    return found


@SLOW
@given(st.data(), sets)
def test_the_plan_for_a_few_objects_is_the_whole_plan_restricted_to_them(
    data: st.DataObject, documents: list[dict[str, Any]]
) -> None:
    want = wanted(read(documents))
    assume(want)
    observed = all_converged(want)
    for key in data.draw(st.lists(st.sampled_from(sorted(want)), max_size=3)):
        deed = data.draw(st.sampled_from(["gone", "recordless", "drifted"]))
        have = observed.get(key)
        if have is None:
            continue
        if deed == "gone":
            del observed[key]
        elif deed == "recordless":
            observed[key] = Observed(key, None, have.facts)
        else:
            observed[key] = Observed(key, have.fields, {}, have.asked, have.needs, have.owner)
    few = closure(data.draw(st.lists(st.sampled_from(sorted(want)), min_size=1, max_size=3)), want)
    whole, part = by_key(plan(want, observed, {})), by_key(plan_part(want, observed, few))
    assert part == {key: actions for key, actions in whole.items() if key in few}


@SLOW
@given(st.data(), sets)
def test_whoever_stands_on_something_that_is_left_alone_is_left_alone_too(
    data: st.DataObject, documents: list[dict[str, Any]]
) -> None:
    want = wanted(read(documents))
    assume(want)
    made = plan(want, {}, {})
    held = set(data.draw(st.lists(st.sampled_from(sorted(want)), min_size=1, max_size=3)))
    left = without(made, held)
    assert not held & {action.key for action in left.effective}
    steps = {action.step for action in left.actions}
    assert all(set(action.after) <= steps for action in left.effective)


def test_a_repair_of_a_network_reaches_its_containers() -> None:
    want = desired(SHOP)
    users = users_of(want)
    network = next(key for key in want if key.name == "front")
    assert container("db") in users[network] and container("web-1") in users[network]


def test_nothing_is_planned_for_what_is_as_declared() -> None:
    want = desired(SHOP)
    few = closure([container("db")], want)
    made = plan_part(want, all_converged(want), few)
    assert made.empty and {action.key for action in made.actions} == few
