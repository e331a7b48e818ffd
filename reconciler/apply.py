"""Carry out a plan: independent actions at once, dependents after, a failure stops what hangs on it only.

Effects happen only through `perform`, which the caller gives; this module knows order, threads and outcomes. Every
boundary between actions is told to `watch`, so that a display can show it and a test can kill there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from graphlib import TopologicalSorter

from reconciler.actions import Action, Plan, Step, Verb
from schemas.errors import TrimtabError
from schemas.names import Key, Kind


class Result(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    REPLACED = "replaced"
    DELETED = "deleted"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action. `seconds` of wall time; `error` when failed; `waits_for` when skipped for that: the
    step that failed first, and `cause` its error.

    `gone`: what it was to replace is deleted, and this creation did not come about. `first_half`: of the creation of a
    replacement, the seconds that the deletion before it took, the stop of what ran among them.
    """

    action: Action
    result: Result
    seconds: float = 0.0
    error: Exception | None = None
    waits_for: Step | None = None
    gone: bool = False
    cause: Exception | None = None
    first_half: float = 0.0

    @property
    def took(self) -> float:
        """Seconds, of a replacement with both its halves."""
        return self.first_half + self.seconds

    @property
    def ok(self) -> bool:
        return self.result not in (Result.FAILED, Result.SKIPPED)

    @property
    def never_began(self) -> bool:
        """Whether it is the second half of a replacement whose first half did not come about, and is told."""
        return self.action.replaces and self.action.verb is Verb.CREATE and not self.ok and not self.gone


Perform = Callable[[Action], None]
Watch = Callable[[Action, Outcome | None], None]
"""Called with None before an action and with its outcome after it, never twice at once."""


Stop = Callable[[], bool]
"""Whether somebody wants no more actions to begin. Asked from any thread."""


class Stopped(Exception):
    """Raised by an action that waited when `Stop` came true, before it had done anything that cannot be done anew."""


NOT_MADE_ANEW = "deleted, not made anew yet: the next apply makes it"
"""Of a replacement whose second half did not come about."""


def waited_for(outcome: Outcome) -> str:
    """Why an action was skipped, in words."""
    if outcome.waits_for is None:
        return "no action begins any more"
    needed = outcome.waits_for
    failed = "whose deletion failed" if needed.verb is Verb.DELETE else "which failed"
    why = reason_of(outcome.cause, needed.key).partition("\n")[0] if outcome.cause is not None else ""
    return f"waits for {needed.key}, {failed}: {why}".removesuffix(": ")


def reason_of(error: Exception, key: Key) -> str:
    """The error without the object's name, which stands before it already."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error).removeprefix(str(key)).removeprefix(":").lstrip()


def counted(outcomes: Iterable[Outcome]) -> Mapping[Result, int]:
    """How many objects came to what: a replacement once, unless it deleted and did not make anew."""
    made = list(outcomes)
    gone = {each.action.key for each in made if each.gone}
    counts = dict.fromkeys(Result, 0)
    for each in made:
        if not each.never_began and (not is_first_half(each) or each.action.key in gone):
            counts[each.result] += 1
    return {result: count for result, count in counts.items() if count}


def is_first_half(outcome: Outcome) -> bool:
    """The deletion of a replacement that went well: its creation is told."""
    return outcome.action.replaces and outcome.action.verb is Verb.DELETE and outcome.ok


def never() -> bool:
    """For callers whom nobody interrupts."""
    return False


def apply(plan: Plan, perform: Perform, watch: Watch, parallel: int, stop: Stop = never) -> list[Outcome]:
    """Outcomes in the order in which they came. Raises nothing for a failed action: it is an outcome.

    Once `stop` says so, the actions under way finish and the others are skipped; the next apply does them. A
    replacement that has begun counts as under way, with all that its second half needs.
    """
    outcomes: list[Outcome] = []
    for action in plan.actions:
        if action.verb is Verb.UNCHANGED:
            outcomes.append(Outcome(action, Result.UNCHANGED))
    with ThreadPoolExecutor(max_workers=max(1, parallel), thread_name_prefix="apply") as pool:
        for outcome in _run(plan, pool, perform, watch, stop):
            outcomes.append(outcome)
    return outcomes


def _run(plan: Plan, pool: ThreadPoolExecutor, perform: Perform, watch: Watch, stop: Stop) -> Iterator[Outcome]:
    actions = {action.step: action for action in plan.effective}
    order = TopologicalSorter(
        {step: [s for s in (*action.after, *action.behind) if s in actions] for step, action in actions.items()}
    )
    order.prepare()
    done: dict[Step, Outcome] = {}
    running: set[Future[Outcome]] = set()
    due: set[Step] = set()

    def finish(outcome: Outcome) -> Outcome:
        outcome = replace(outcome, gone=_is_gone(outcome, done), first_half=_first_half(outcome.action, done))
        done[outcome.action.step] = outcome
        order.done(outcome.action.step)
        watch(outcome.action, outcome)
        return outcome

    while order.is_active():
        ready = order.get_ready()
        for step in ready:
            failed = _failed_need(actions[step], done)
            if failed is not None or (step not in due and stop()):
                yield finish(_skipped(actions[step], failed))
                continue
            if _is_idle(actions[step], done):
                yield finish(Outcome(actions[step], Result.UNCHANGED))
                continue
            if step.verb is Verb.DELETE and actions[step].replaces:
                due |= _needed(Step(Verb.CREATE, step.key), actions)
            watch(actions[step], None)
            act = partial(_perform, actions[step], perform, never if step in due else stop)
            if len(ready) == 1 and not running:
                # nothing could happen beside it: a thread would cost more than some actions
                yield finish(act())
                continue
            running.add(pool.submit(copy_context().run, act))
        finished, running = wait(running, return_when=FIRST_COMPLETED) if running else (set(), running)
        for future in finished:
            yield finish(future.result())


def _needed(step: Step, actions: Mapping[Step, Action]) -> set[Step]:
    """The step and all that must have succeeded before it."""
    found, left = set[Step](), [step]
    while left:
        if (each := left.pop()) in actions and each not in found:
            found.add(each)
            left += actions[each].after
    return found


def _is_gone(outcome: Outcome, done: Mapping[Step, Outcome]) -> bool:
    action = outcome.action
    if outcome.ok or not action.replaces or action.verb is not Verb.CREATE:
        return False
    deletion = done.get(Step(Verb.DELETE, action.key))
    return deletion is not None and deletion.ok


def _first_half(action: Action, done: Mapping[Step, Outcome]) -> float:
    if not action.replaces or action.verb is not Verb.CREATE:
        return 0.0
    deletion = done.get(Step(Verb.DELETE, action.key))
    return deletion.seconds if deletion is not None else 0.0


def _failed_need(action: Action, done: Mapping[Step, Outcome]) -> Outcome | None:
    """Of what had to succeed before and did not; the failed before the skipped."""
    amiss = [done[step] for step in action.after if step in done and not done[step].ok]
    return min(amiss, key=lambda each: each.result is Result.SKIPPED and each.waits_for is None, default=None)


def _is_idle(action: Action, done: Mapping[Step, Outcome]) -> bool:
    """Whether it would only take in replicas that have not come about: then it changes nothing."""
    if action.key.kind is not Kind.SERVICE or action.verb is not Verb.UPDATE:
        return False
    from reconciler.kinds.service import only_takes_in

    missing = {step.key.name for step, each in done.items() if step.key.kind is Kind.CONTAINER and not each.ok}
    return only_takes_in(action, missing)


def _skipped(action: Action, failed: Outcome | None) -> Outcome:
    """For what failed first, however long the chain from there; interrupted where nothing did."""
    if failed is None or (failed.result is Result.SKIPPED and failed.waits_for is None):
        return Outcome(action, Result.SKIPPED)
    if failed.result is Result.SKIPPED:
        return Outcome(action, Result.SKIPPED, waits_for=failed.waits_for, cause=failed.cause)
    return Outcome(action, Result.SKIPPED, waits_for=failed.action.step, cause=failed.error)


def _perform(action: Action, perform: Perform, stop: Stop) -> Outcome:
    if stop():
        return Outcome(action, Result.SKIPPED)
    began = time.monotonic()
    try:
        perform(action)
    except Stopped:
        return Outcome(action, Result.SKIPPED, time.monotonic() - began)
    except (TrimtabError, OSError) as error:
        return Outcome(action, Result.FAILED, time.monotonic() - began, error)
    return Outcome(action, _result(action), time.monotonic() - began)


def _result(action: Action) -> Result:
    if action.replaces and action.verb is Verb.CREATE:
        return Result.REPLACED
    return {Verb.CREATE: Result.CREATED, Verb.UPDATE: Result.UPDATED, Verb.DELETE: Result.DELETED}[action.verb]
