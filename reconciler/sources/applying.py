"""Apply one offer of a source: the same pass as `trimtab apply`, with the source as whoever asks for it.

Synchronous: the daemon calls it through its worker. What is refused is refused before the first effect.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Sequence
from contextlib import suppress

from reconciler.actions import Action
from reconciler.apply import Outcome, Result, Stop, Watch, never
from reconciler.backoff import is_final
from reconciler.caller import work_for
from reconciler.engine import Engine
from reconciler.lock import engine_lock
from reconciler.prune import Pruning, orphans_told
from reconciler.reconcile import Asked, carry_out, prepare
from reconciler.sources.follower import Applied
from reconciler.sources.offer import Offer
from reconciler.sources.strayed import digests_of
from reconciler.store.database import Database
from reconciler.store.events import Event, read_events, record_events
from reconciler.store.inventory import read_inventory
from schemas.errors import RetryLater
from schemas.names import Key

PARALLEL = 4
LOCK_SECONDS = 30.0
REMEDY = "`prune: true`"
MOST_NAMES = 10
"""Of actions in a sentence."""
KEPT = "Kept"
NOTE = "note: "
"""What begins a line of a source's message that is told although all is well."""


def apply_offer(engine: Engine, offer: Offer, watch: Watch, parallel: int = PARALLEL, stop: Stop = never) -> Applied:
    """Raises Invalid and Refused with nothing changed, RetryLater when another holds the engine, or `stop` ended it."""
    return contextvars.copy_context().run(_apply, engine, offer, watch, parallel, stop)


def asked_by(offer: Offer) -> Asked:
    """What the source asks for. Never everything away: an empty source yields no offer."""
    pruning = Pruning(enabled=offer.prune)
    return Asked(
        *(offer.declared, offer.set, offer.where, offer.environment, pruning, offer.commit, offer.cause),
        sealed=offer.sealed,
    )


def _apply(engine: Engine, offer: Offer, watch: Watch, parallel: int, stop: Stop) -> Applied:
    work_for(offer.caller)
    end = time.monotonic() + offer.timeout
    with engine_lock(engine.layout.lock, min(LOCK_SECONDS, offer.timeout)):
        prepared = prepare(engine, asked_by(offer))
        outcomes = carry_out(prepared, watch, parallel, lambda: stop() or time.monotonic() > end)
        left = digests_of(read_inventory(engine.database).values()).get(offer.set, "")
    cut_short = any(outcome.result is Result.SKIPPED and outcome.waits_for is None for outcome in outcomes)
    if stop() and cut_short:
        raise RetryLater("was interrupted", step="apply", hint="it is tried again when the daemon is back")
    if cut_short:
        return Applied(False, overdue(outcomes, offer.timeout), left, timed_out=True)
    stay = prepared.plan.orphans
    note = f"\n{NOTE}{orphans_told(stay, offer.set, REMEDY)}" if stay else ""
    with suppress(RetryLater):
        _record_kept(engine.database, offer.source, stay)
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    passing = bool(failures) and not any(map(is_final, failures))
    return Applied(all(outcome.ok for outcome in outcomes), summary(outcomes) + note, left, passing=passing)


def _record_kept(database: Database, source: str, keys: Sequence[Key]) -> None:
    """An event of each that stays since its source does not prune: the first time, not with every revision."""
    why = f"no longer in the manifests of source {source}, which does not prune; {REMEDY} deletes it"
    events = [Event(time.time(), str(key), "Normal", KEPT, why) for key in keys]
    record_events(database, [event for event in events if not _is_told(database, event)])


def _is_told(database: Database, event: Event) -> bool:
    last = read_events(database, event.object, last=1)
    return bool(last) and (last[0].reason, last[0].message) == (event.reason, event.message)


def overdue(outcomes: Sequence[Outcome], seconds: float) -> str:
    """What is told of an apply whose time was over between two actions."""
    done = [outcome.action for outcome in outcomes if outcome.ok and outcome.result is not Result.UNCHANGED]
    left = [outcome.action for outcome in outcomes if not outcome.ok]
    lines = [f"was not done within {seconds:g} s (timeout): {summary(outcomes)}"]
    lines += [f"{what}: {_listed(actions)}" for what, actions in (("done", done), ("not done", left)) if actions]
    return "\n".join((*lines, "it is gone on with by and by"))


def _listed(actions: Sequence[Action]) -> str:
    names = [f"{action.verb.value} {action.key}" for action in actions]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def summary(outcomes: Sequence[Outcome]) -> str:
    """`3 created, 2 unchanged`; and of what failed the first, in its own words."""
    counts: dict[Result, int] = {}
    for outcome in outcomes:
        counts[outcome.result] = counts.get(outcome.result, 0) + 1
    told = ", ".join(f"{count} {result.value}" for result, count in counts.items())
    failed = next((outcome for outcome in outcomes if not outcome.ok and outcome.error is not None), None)
    if failed is None:
        return told
    place = f" ({failed.action.place})" if failed.action.place is not None else ""
    return f"{told}; {failed.action.describe()}: {failed.error}{place}"
