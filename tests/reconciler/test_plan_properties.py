"""What holds of every plan, whatever the manifests: carried out, nothing is left to do; order of input is nothing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from reconciler.actions import Verb
from reconciler.desired import Desired
from reconciler.plan import plan
from reconciler.resolve import resolve
from schemas.check import check
from schemas.envelope import Declared
from schemas.errors import Invalid, Refused
from schemas.load import Text, load
from schemas.names import Key, Kind
from tests.reconciler.worlds import WORLD, carried_out
from tests.schemas.inputs import inputs

KINDS = (Kind.IMAGE, Kind.CONTAINER, Kind.VOLUME, Kind.NETWORK, Kind.SERVICE, Kind.SECRET, Kind.CONFIG)
SLOW = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def read(documents: list[dict[str, Any]]) -> dict[Key, Declared] | None:
    """The objects, or None when they are refused; a refusal always names a place."""
    try:
        declared = load([Text("any.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))], {})
    except Invalid as error:
        assert all(problem.place.line >= 1 and problem.place.column >= 1 for problem in error.problems)
        return None
    if problems := check(declared):
        assert all(problem.place.file == "any.json" for problem in problems)
        return None
    return {item.key: item for item in declared}


def wanted(declared: dict[Key, Declared] | None) -> dict[Key, Desired]:
    assume(declared is not None)
    assert declared is not None
    try:
        return dict(resolve(declared, WORLD).desired)
    except Refused as error:
        assert error.message
        assume(False)
        raise


sets = inputs(*KINDS)


@SLOW
@given(sets)
def test_planning_the_result_of_a_plan_is_empty(documents: list[dict[str, Any]]) -> None:
    want = wanted(read(documents))
    first = plan(want, {}, {})
    assert plan(want, carried_out(first, want, {}), {}).empty


@SLOW
@given(sets, sets)
def test_from_any_state_one_plan_reaches_any_other(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    old, new = wanted(read(before)), wanted(read(after))
    had = carried_out(plan(old, {}, {}), old, {})
    prune = {key: "no longer in the manifests" for key in had if key not in new}
    second = plan(new, had, prune)
    reached = carried_out(second, new, had)
    assert set(reached) == set(new)
    assert plan(new, reached, {}).empty


@SLOW
@given(st.data(), sets)
def test_the_order_of_input_does_not_matter(data: st.DataObject, documents: list[dict[str, Any]]) -> None:
    shuffled = data.draw(st.permutations(documents))
    one, other = read(documents), read(shuffled)
    assert (one is None) == (other is None)
    told = [[action.describe() for action in plan(wanted(read_set), {}, {}).actions] for read_set in (one, other)]
    assert told[0] == told[1]


@SLOW
@given(sets)
def test_every_action_stands_behind_what_it_comes_after(documents: list[dict[str, Any]]) -> None:
    want = wanted(read(documents))
    seen = set()
    for action in plan(want, {}, {}).actions:
        assert all(step in seen for step in action.after if step.verb is not Verb.UNCHANGED)
        seen.add(action.step)
