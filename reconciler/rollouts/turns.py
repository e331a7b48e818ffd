"""Which actions of a plan replace a Service's replicas, and the plan without those whose turn it is not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from reconciler.actions import Action, Change, Effect, Note, Plan, Verb
from reconciler.desired import Desired, Observed
from reconciler.kinds.container import is_image_change
from reconciler.plan import changes_of
from reconciler.rollouts.pace import Turn
from reconciler.rollouts.state import Rollout
from schemas.deploy import RollbackConfig, UpdateConfig
from schemas.names import Key, Kind
from schemas.service import ServiceSpec

MOST_NAMED = 6


def rolls(want: Desired | None) -> bool:
    """Whether it is a Service that says how its replicas are to be replaced."""
    return pace_of(want, Rollout()) is not None


def pace_of(want: Desired | None, state: Rollout) -> UpdateConfig | None:
    """Of a rollout, or of the way back; None where all replicas are replaced at once."""
    spec = want.declared.spec if want is not None and want.declared is not None else None
    if not isinstance(spec, ServiceSpec) or spec.deploy.update_config is None:
        return None
    return (spec.deploy.rollback_config or RollbackConfig()) if state.back else spec.deploy.update_config


def asked_replicas(want: Desired) -> int:
    """How many its manifest asks for."""
    spec = want.declared.spec if want.declared is not None else None
    return spec.deploy.replicas if isinstance(spec, ServiceSpec) else 0


def replicas_of(service: Key, desired: Mapping[Key, Desired]) -> list[Key]:
    """By their numbers."""
    keys = [need for need in desired[service].needs if need in desired and desired[need].owner == service]
    return sorted(keys, key=lambda key: int(key.name.rpartition("-")[2]))


def replacing(actions: Iterable[Action]) -> dict[Key, tuple[Action, ...]]:
    """Of each container that comes to be another by what was asked for, its actions. Repairs are none of these."""
    found: dict[Key, tuple[Action, ...]] = {}
    for action in actions:
        if action.key.kind is Kind.CONTAINER and any(map(is_of_rollout, action.changes)):
            found[action.key] = (*found.get(action.key, ()), action)
    return found


def is_of_rollout(change: Change) -> bool:
    """Whether a change takes a process away for another one because something else was asked for."""
    if is_image_change(change):
        return True
    return not change.drift and change.effect >= Effect.RESTART and change.path != ("health",)


def happens_once(want: Desired, have: Observed | None, actions: Iterable[Action]) -> tuple[str, str] | None:
    """How far it reaches, and why, if the next look would not find it any more: what befell something beneath."""
    if have is None or have.fields is None:
        return None
    if any(map(is_of_rollout, changes_of(want, have))):
        return None
    changes = [each for action in actions for each in action.changes if is_of_rollout(each)]
    if not changes or any(change.path[0] == "image" for change in changes):
        return None
    return max(change.effect for change in changes).word, changes[0].describe()


def owed(state: Rollout, started: Mapping[str, float]) -> dict[Key, tuple[Change, ...]]:
    """Changes of replicas whose processes are older than what they are to be replaced for."""
    return {
        Key(Kind.CONTAINER, name): (Change(("rollout",), "as before", why, Effect.named(effect)),)
        for name, (at, effect, why) in state.owed.items()
        if started.get(name, 0.0) <= at
    }


def cannot_wait(actions: Iterable[Action], replicas: Iterable[Key], desired: Mapping[Key, Desired]) -> Key | None:
    """What the replicas stand on and is taken away to be made anew: then they go all at once."""
    needs = {need for key in replicas for need in desired[key].needs}
    taken = (action.key for action in actions if action.verb is Verb.DELETE and action.replaces)
    return next((key for key in taken if key in needs and key.kind is not Kind.CONTAINER), None)


def held_back(plan: Plan, keys: Collection[Key]) -> Plan:
    """Without the actions on these, what is deleted after them, and what would only follow them."""
    names = {key.name for key in keys}
    kept = [a for a in plan.actions if a.key not in keys and not _only_follows(a, names)]
    dropped = {action.step for action in plan.actions} - {action.step for action in kept}
    while gone := [a for a in kept if a.verb is Verb.DELETE and not a.replaces and dropped & set(a.after)]:
        dropped |= {action.step for action in gone}
        kept = [action for action in kept if action not in gone]
    return replace(plan, actions=tuple(kept), later=(*plan.later, *_order(plan, keys)))


def _order(plan: Plan, keys: Collection[Key]) -> tuple[Key, ...]:
    return tuple(dict.fromkeys(action.key for action in plan.actions if action.key in keys))


def _only_follows(action: Action, names: Collection[str]) -> bool:
    return bool(action.changes) and all(_follows(change, names) for change in action.changes)


def _follows(change: Change, names: Collection[str]) -> bool:
    """Whether it is for one of these being started anew."""
    match change.path:
        case ("namespaces", name) | ("balance", "replicas", name):
            return name in names
        case _:
            return False


def note_on(service: Key, state: Rollout, pace: UpdateConfig, turn: Turn, total: int) -> Note | None:
    """How it goes on, for the reader of a plan; None where nothing is left to be said."""
    if state.stalled and (not state.under_way or not turn.names):
        return Note(service, f"{state.stalled}; `trimtab reconcile service/{service.name}` tries again")
    if not turn.names and not turn.later:
        return None
    done = total - len(turn.names) - len(turn.later)
    now = f"{len(turn.names)} of {total} now ({_named(turn.names)})" if turn.names else "none now"
    settled = f", once well for {pace.monitor:g} s" if pace.monitor else ", once ready"
    rest = f", the other {len(turn.later)} after them{settled}" if turn.later else ""
    already = f", {done} before" if done and turn.later else ""
    how = "is rolled back" if state.back else "rolls out"
    at_once = pace.parallelism or total
    return Note(service, f"{how} {at_once} at a time: {now}{rest}{already}")


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
