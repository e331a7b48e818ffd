"""The status of each object after a pass over it, kept in the store where it changed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from reconciler.actions import Action, Verb
from reconciler.desired import Desired
from reconciler.engine import Engine
from reconciler.health import Health as Probed
from reconciler.loop.memory import Memory
from reconciler.loop.passes import Passed
from reconciler.loop.wanted import Wanted
from reconciler.rollouts.looking import read_rollout_of
from reconciler.rollouts.passing import TURN
from reconciler.status import Situation, Status, status_of
from reconciler.store.standing import Topic, write_standing
from schemas.names import Key, Kind


class Standings:
    """What was written last, so that only what changed is written."""

    def __init__(self, engine: Engine, memory: Memory) -> None:
        self._engine = engine
        self._memory = memory
        self._known: dict[Key, Status] = {}
        self._counts: dict[str, int] = {}

    def take_in(
        self, passed: Passed, wanted: Wanted, probed: Mapping[Key, Probed | None], restarts: Mapping[str, int]
    ) -> None:
        """Of everything that the pass planned; and of containers, how often in a row they were started again."""
        actions: dict[Key, Action] = {action.key: action for action in passed.part.plan.actions}
        actions |= {key: Action(Verb.UNCHANGED, key, "as declared") for key in passed.part.plan.later}
        acted = {outcome.action.key: outcome for outcome in passed.outcomes}
        now = time.time()
        changed: dict[str, object] = {}
        for key, action in actions.items():
            if key not in wanted.desired:
                continue
            outcome = acted.get(key)
            done = action.verb is Verb.UNCHANGED or (outcome is not None and outcome.ok)
            found = self._situation(key, action, passed, wanted, probed.get(key), done=done)
            status = status_of(found, now, self._known.get(key))
            # what is not ready, an apply beside the loop may have forgotten meanwhile
            if status != self._known.get(key) or status.condition("Ready").status == "False":
                self._known[key] = status
                changed[str(key)] = status.fields()
        write_standing(self._engine.database, Topic.STATUS, changed)
        counted = {name: count for name, count in restarts.items() if self._counts.get(name) != count}
        self._counts |= counted
        write_standing(self._engine.database, Topic.RESTARTS, counted)

    def forget(self, wanted: Wanted) -> None:
        """What is not wanted any more has no status."""
        gone = [key for key in self._known if key not in wanted.desired]
        for key in gone:
            del self._known[key]
        write_standing(self._engine.database, Topic.STATUS, {str(key): None for key in gone})

    def _failed_replicas(self, want: Desired | None) -> tuple[str, ...]:
        """Of a Service that was brought in line with those that run, in words: the others."""
        if want is None or want.key.kind is not Kind.SERVICE:
            return ()
        failed = ((need, self._memory.failures.get(need)) for need in want.needs if need in want.optional)
        return tuple(f"is without {need}, which failed: {each.message}" for need, each in failed if each is not None)

    def _situation(
        self, key: Key, action: Action, passed: Passed, wanted: Wanted, probed: Probed | None, *, done: bool
    ) -> Situation:
        want = wanted.desired.get(key)
        have = passed.part.observed.get(key)
        failure = self._memory.failures.get(key)
        decision = passed.decisions.get(key)
        held = passed.held.get(key, "")
        entry = wanted.inventory.get(want.owner or key) if want is not None else wanted.inventory.get(key)
        generation = entry.generation if entry is not None else 1
        waits = decision is not None and decision.at is not None and not decision.is_due(time.time())
        gave_up = decision is not None and decision.at is None and have is not None
        return Situation(
            generation=generation,
            observed_generation=generation,
            exists=have is not None or done,
            differences=self._failed_replicas(want) if done else (action.reason,),
            process=_process(key, want, action, passed, done=done),
            wanted_process=want.facts.get("process") if want is not None and key.kind is Kind.CONTAINER else None,
            probed=probed.status.value if probed is not None else "",
            failure=failure.message if failure is not None else "",
            refused=failure is not None and failure.refused,
            held=held,
            suspended=bool(held) and _is_suspended(held),
            waits=decision.reason if decision is not None and waits else "",
            **_rollout(self._engine, key, passed),
            given_up=_given_up(decision.reason) if decision is not None and gave_up else "",
        )


def _rollout(engine: Engine, key: Key, passed: Passed) -> dict[str, str]:
    """Of a Service how its rollout is, of a replica whether its turn is still to come."""
    if key.kind is Kind.CONTAINER and key in passed.part.plan.later:
        told = passed.rolled.later.get(key, "") if passed.rolled is not None else ""
        return {"halted": told} if told and not told.startswith(TURN) else {"rolling": told or TURN}
    state = read_rollout_of(engine.database, key) if key.kind is Kind.SERVICE else None
    return {"rolling": state.told if state.under_way else "", "halted": state.stalled} if state is not None else {}


def _process(key: Key, want: Desired | None, action: Action, passed: Passed, *, done: bool) -> str | None:
    """As it was observed, or as it was made since."""
    if key.kind is not Kind.CONTAINER:
        return None
    if action.verb is not Verb.UNCHANGED and done and want is not None:
        living = next((each for each in passed.living if each.key == key), None)
        return living.process.phase.value if living is not None else None
    have = passed.part.observed.get(key)
    return have.facts.get("process") if have is not None else None


def _is_suspended(held: str) -> bool:
    return held == "suspended" or held.endswith(": disabled")


def _given_up(reason: str) -> str:
    return reason if reason.startswith("gave up") else ""
