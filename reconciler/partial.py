"""A pass over a few objects: those that something happened to, what they stand on, and what their repair reaches.

Equal to the whole pass, restricted to these keys: what an object needs is observed and planned with it, and where an
action touches something that others depend on, they join. Called by the loop, and by `trimtab reconcile`. Does not
prune, and records nothing of what was asked: that was done by the apply it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.actions import Action, Plan, Verb
from reconciler.apply import Outcome, Stop, Watch, apply, never
from reconciler.desired import Desired, Observed
from reconciler.engine import Engine
from reconciler.intent import Intent
from reconciler.kinds.service import only_takes_in
from reconciler.observe import observe
from reconciler.perform.dispatch import perform
from reconciler.plan import NOTHING, Urged, plan
from reconciler.reconcile import NETWORKED, recorded
from reconciler.store.records import read_records_of
from runtime.network.netlink import import_codecs
from schemas.names import Key, Kind

FEW = 30
"""Users of a network up to which they are looked at with it."""

NO_SURPLUS: Mapping[Key, str] = {}

Hold = Callable[[Mapping[Key, Observed]], Mapping[Key, Observed]]
"""What was observed, with what is to be left alone for now marked as such."""


@dataclass(frozen=True, slots=True)
class Part:
    """A plan for a few objects of one set, and what it was made of."""

    intent: Intent
    keys: frozenset[Key]
    observed: Mapping[Key, Observed]
    plan: Plan


def as_found(observed: Mapping[Key, Observed]) -> Mapping[Key, Observed]:
    """Nothing is left alone."""
    return observed


def nothing() -> None:
    """For callers that need not know who acts."""


def prepare_part(
    engine: Engine,
    intent: Intent,
    keys: Iterable[Key],
    hold: Hold = as_found,
    urged: Urged = NOTHING,
    surplus: Mapping[Key, str] = NO_SURPLUS,
) -> Part:
    """Observe and plan. Changes nothing. `surplus`: what goes, and why."""
    wanted = closure(keys, intent.desired)
    observed = observe(engine, read_records_of(engine.database, surplus))
    while True:
        observed |= observe(engine, read_records_of(engine.database, wanted - observed.keys()))
        made = plan_part(intent.desired, hold(observed), wanted, urged, surplus)
        reached = closure(_reached(made.effective, intent), intent.desired)
        if reached <= wanted:
            return Part(intent, wanted, observed, made)
        wanted |= reached


def plan_part(
    desired: Mapping[Key, Desired],
    observed: Mapping[Key, Observed],
    keys: Collection[Key],
    urged: Urged = NOTHING,
    surplus: Mapping[Key, str] = NO_SURPLUS,
) -> Plan:
    """The plan restricted to `keys`, which hold everything that they need. Pure."""
    return plan({key: desired[key] for key in keys if key in desired}, observed, surplus, urged)


def without(made: Plan, held: Collection[Key]) -> Plan:
    """The plan without the actions on these keys, without those that would have to come after them, and without those
    on Services that would only take in replicas that are left out. Pure."""
    dropped = {action.step for action in made.effective if action.key in held}
    kept = list(made.actions)
    while True:
        left = [action for action in kept if action.step not in dropped]
        gone = {step.key.name for step in dropped if step.key.kind is Kind.CONTAINER}
        dropped |= {action.step for action in left if dropped & set(action.after) or _is_idle(action, gone)}
        if len(left) == len(kept):
            return Plan(tuple(left), made.notes)
        kept = left


def _is_idle(action: Action, gone: Collection[str]) -> bool:
    return action.key.kind is Kind.SERVICE and action.verb is Verb.UPDATE and only_takes_in(action, gone)


def closure(keys: Iterable[Key], desired: Mapping[Key, Desired]) -> frozenset[Key]:
    """The keys that are desired, and everything they stand on."""
    found: set[Key] = set()
    waiting = [key for key in keys if key in desired]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += [need for need in desired[key].needs if need in desired]
    return frozenset(found)


def _reached(actions: Iterable[Action], intent: Intent) -> set[Key]:
    """Who depends on something that an action touches."""
    return {user for action in actions for user in _users(action, intent)}


def _users(action: Action, intent: Intent) -> Sequence[Key]:
    """A network that is mended in place changes nothing for its containers; what else befell them, they tell by
    themselves. Where they are few, they are looked at in the same pass all the same: it is sooner."""
    users = intent.users.get(action.key, ())
    in_place = action.verb is Verb.UPDATE and action.key.kind is Kind.NETWORK
    return () if action.verb is Verb.UNCHANGED or (in_place and len(users) > FEW) else users


def carry_out_part(
    engine: Engine, part: Part, watch: Watch, parallel: int, stop: Stop = never, begin: Callable[[], None] = nothing
) -> list[Outcome]:
    """The actions, each told and recorded as an event; `begin` is called in the thread of each. An outcome for each."""
    if part.plan.empty:
        return []
    context = part.intent.context(engine, part.observed, stop)
    if any(action.key.kind in NETWORKED for action in part.plan.effective):
        import_codecs()

    def act(action: Action) -> None:
        begin()
        perform(context, action)

    return apply(part.plan, act, recorded(engine.database, watch), parallel, stop)
