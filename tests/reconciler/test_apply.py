"""What an apply makes of a plan, with effects that only note what is asked of them."""

from __future__ import annotations

import pytest

from reconciler.actions import Action, Change, Effect, Plan, Step, Verb
from reconciler.apply import Outcome, Result, apply
from schemas.errors import Refused
from schemas.names import Key, Kind

ONE, TWO, WEB = Key(Kind.CONTAINER, "web-1"), Key(Kind.CONTAINER, "web-2"), Key(Kind.SERVICE, "web")
JOINS = tuple(Change(("balance", "replicas", key.name), "left", "joined", Effect.LIVE) for key in (ONE, TWO))
PORT = Change(("balance", "default", "ports", "tcp 80"), None, 80, Effect.LIVE)


def outcomes(failing: frozenset[Key], changes: tuple[Change, ...]) -> tuple[dict[Key, Result], list[Key]]:
    """Of two replicas that are started again and their Service; and what was really done."""
    starts = [Action(Verb.UPDATE, key, "drift") for key in (ONE, TWO)]
    behind = tuple(Step(Verb.UPDATE, key) for key in (ONE, TWO))
    done: list[Key] = []

    def perform(action: Action) -> None:
        if action.key in failing:
            raise Refused("it does not start", object=str(action.key))
        done.append(action.key)

    made: list[Outcome] = apply(
        Plan((*starts, Action(Verb.UPDATE, WEB, "drift", changes, behind=behind))), perform, lambda *_: None, 1
    )
    return {each.action.key: each.result for each in made}, done


@pytest.mark.parametrize(
    ("failing", "changes", "result"),
    [
        (frozenset({ONE, TWO}), JOINS, Result.UNCHANGED),
        (frozenset({ONE}), JOINS[:1], Result.UNCHANGED),
        (frozenset({ONE}), JOINS, Result.UPDATED),
        (frozenset({ONE, TWO}), (*JOINS, PORT), Result.UPDATED),
        (frozenset(), JOINS, Result.UPDATED),
    ],
)
def test_a_service_is_updated_only_where_something_of_it_changes(
    failing: frozenset[Key], changes: tuple[Change, ...], result: Result
) -> None:
    found, done = outcomes(failing, changes)
    assert found[WEB] is result
    assert (WEB in done) is (result is Result.UPDATED)
