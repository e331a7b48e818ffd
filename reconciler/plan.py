"""From desired and observed to a plan: the smallest ordered set of actions that closes the difference.

Pure: no clock, no I/O, no logger. Each kind's own rules are in `kinds/`; here is what all kinds share: the order of
the cases, replacing as delete and create, and the edges between actions. Called by `diff` and `apply` alike, so that
both print the same sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import TypeVar

from reconciler.actions import Action, Change, Effect, Note, Plan, Step, Verb
from reconciler.desired import Desired, Observed
from reconciler.diff import diff_facts, diff_fields
from reconciler.kinds import RULES
from schemas.names import Key, Kind

Node = TypeVar("Node", Key, Step)
NOTHING: Mapping[Key, tuple[Change, ...]] = {}


Urged = Mapping[Key, tuple[Change, ...]]
"""Changes that neither manifest nor facts tell, as that of an unhealthy container into a healthy one."""


def plan(
    desired: Mapping[Key, Desired], observed: Mapping[Key, Observed], prune: Mapping[Key, str], urged: Urged = NOTHING
) -> Plan:
    """Actions for everything desired, and deletions for `prune` (key -> reason). Dependencies before dependents."""
    actions: dict[Key, list[Action]] = {}
    for key in _in_order(desired):
        unsettled = {need: actions[need] for need in desired[key].needs if need in actions}
        actions[key] = plan_object(desired[key], observed.get(key), unsettled, urged.get(key, ()))
    for key, reason in prune.items():
        have = observed.get(key)
        actions[key] = [Action(Verb.DELETE, key, reason)] if have is not None else []
    notes = tuple(Note(key, text) for key in sorted(desired) for text in desired[key].notes)
    return Plan(_with_edges(actions, desired, observed), notes)


def plan_object(
    want: Desired, have: Observed | None, needs: Mapping[Key, Sequence[Action]], urged: tuple[Change, ...] = ()
) -> list[Action]:
    """What one object needs, given the actions already planned for what it depends on."""
    if have is None:
        return [Action(Verb.CREATE, want.key, "does not exist", place=want.place)]
    if have.fields is None:
        return _replace(want, "its record is lost") if want.key.kind is Kind.CONTAINER else [_rerecord(want)]
    own = changes_of(want, have)
    changes = own + _beneath(RULES[want.key.kind].follow(want, needs), own) + urged
    if not changes:
        return [Action(Verb.UNCHANGED, want.key, "as declared", place=want.place)]
    reason = reason_of(changes)
    if max(change.effect for change in changes) is Effect.REPLACE:
        return _replace(want, reason, changes)
    return [Action(Verb.UPDATE, want.key, reason, changes, place=want.place)]


def _beneath(follow: tuple[Change, ...], own: tuple[Change, ...]) -> tuple[Change, ...]:
    """That the image is not there yet is no drift where the manifest names another one."""
    renamed = any(change.path == ("spec", "image") and not change.drift for change in own)
    return tuple(change for change in follow if not (renamed and change.path == ("image",) and change.drift))


def changes_of(want: Desired, have: Observed) -> tuple[Change, ...]:
    """Manifest fields first, then facts; a fact whose wanted value also changed is no drift but intent."""
    rules = RULES[want.key.kind]
    fields = tuple(diff_fields(want.fields, have.fields or {}, rules.effect_of, want.place_of, want.secret))
    facts = tuple(diff_facts(rules.relevant(want, have), have.facts, have.asked, rules.effect_of))
    if fields:
        facts = tuple(change if change.drift else replace(change, implied=True) for change in facts)
    return fields + facts


def reason_of(changes: Iterable[Change]) -> str:
    """Why, in words: what the manifest changed, then what the machine did."""
    changed = [change.describe() for change in changes if not change.drift and not change.implied]
    drifted = [change.describe() for change in changes if change.drift]
    parts = []
    if changed:
        parts.append(_some(changed))
    if drifted:
        parts.append(f"drift: {_some(drifted)}")
    return "; ".join(parts)


def _some(sentences: Sequence[str], most: int = 2) -> str:
    shown = ", ".join(sentences[:most])
    return shown if len(sentences) <= most else f"{shown} and {len(sentences) - most} more"


def _replace(want: Desired, reason: str, changes: tuple[Change, ...] = ()) -> list[Action]:
    return [
        Action(Verb.DELETE, want.key, reason, changes, replaces=True, place=want.place),
        Action(Verb.CREATE, want.key, reason, changes, replaces=True, place=want.place),
    ]


def _rerecord(want: Desired) -> Action:
    lost = Change(("record",), None, "present", Effect.LIVE, drift=True)
    return Action(Verb.UPDATE, want.key, "its record is lost", (lost,), place=want.place)


def _in_order(desired: Mapping[Key, Desired]) -> list[Key]:
    """Keys with every dependency before its dependents; cycles were refused before. Ties by kind and name."""
    return _sorted_batches({key: [need for need in want.needs if need in desired] for key, want in desired.items()})


def _sorted_batches(graph: Mapping[Node, Iterable[Node]]) -> list[Node]:
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    order: list[Node] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _with_edges(
    actions: Mapping[Key, Sequence[Action]], desired: Mapping[Key, Desired], observed: Mapping[Key, Observed]
) -> tuple[Action, ...]:
    """Fill in `after`: creation follows the dependencies, deletion follows the dependents."""
    users: dict[Key, set[Key]] = {}
    for key, have in observed.items():
        for need in have.needs:
            users.setdefault(need, set()).add(key)
    planned = [action for group in actions.values() for action in group]
    edged = [_edged(action, actions, desired, users) for action in planned]
    by_step = {action.step: action for action in edged}
    order = _sorted_batches(
        {step: [s for s in (*action.after, *action.behind) if s in by_step] for step, action in by_step.items()}
    )
    return tuple(by_step[step] for step in order)


def _edged(
    action: Action,
    actions: Mapping[Key, Sequence[Action]],
    desired: Mapping[Key, Desired],
    users: Mapping[Key, set[Key]],
) -> Action:
    after: set[Step] = set()
    behind: set[Step] = set()
    if action.verb is Verb.DELETE:
        if action.replaces:
            after |= _brought_first(desired[action.key], actions)
        for user in users.get(action.key, ()):
            still_needs = user in desired and action.key in desired[user].needs
            after |= {
                other.step
                for other in actions.get(user, ())
                if other.verb is Verb.DELETE or (other.verb is Verb.UPDATE and not still_needs)
            }
    else:
        want = desired[action.key]
        for need in want.needs:
            steps = _made(need, actions)
            if steps and (beside := desired.get(need)) is not None:
                # a Service stands without some of its replicas, but not for whoever depends on it
                steps |= {step for key in _replicas(beside, desired) for step in _made(key, actions)}
            if need in want.optional:
                behind |= steps
            else:
                after |= steps
        if action.replaces:
            after.add(Step(Verb.DELETE, action.key))
    after.discard(action.step)
    return replace(action, after=tuple(sorted(after)), behind=tuple(sorted(behind)))


def _made(key: Key, actions: Mapping[Key, Sequence[Action]]) -> set[Step]:
    """The steps by which an object is made or changed."""
    return {action.step for action in actions.get(key, ()) if action.verb in (Verb.CREATE, Verb.UPDATE)}


def _replicas(want: Desired, desired: Mapping[Key, Desired]) -> set[Key]:
    return {need for need in want.needs if need in desired and desired[need].owner == want.key}


BROUGHT_FIRST = frozenset({Kind.IMAGE, Kind.SECRET, Kind.CONFIG})
"""Kinds that are brought without taking anything away."""


def _brought_first(want: Desired, actions: Mapping[Key, Sequence[Action]]) -> set[Step]:
    """What the successor is made of is there before the old one goes: an image that cannot be pulled ends nothing."""
    needs = [need for need in want.needs if need.kind in BROUGHT_FIRST]
    return {step for need in needs for step in _made(need, actions)}
