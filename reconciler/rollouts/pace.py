"""What follows from a look at a Service's replicas: who has failed, who counts as good, whose turn it is. Pure.

Time is an argument. A replica that is as wanted is watched until it has been ready for `monitor`; one that ends or is
unhealthy until then has failed. Whose turn it is depends on who is not ready or watched: never more than `parallelism`.

Source: Compose Specification, deploy, update_config; Docker, `service update`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from reconciler.rollouts.state import Progress, Rollout
from schemas.deploy import UpdateConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Replica:
    """As a look found it. `changing`: it is still to be replaced. `process`: which one it has, empty for none; `ready`:
    it runs, and is healthy if it has a check; `amiss`: how it ended, or why it is unhealthy. `started`: its process, in
    seconds since the epoch. `alive`: it has not ended."""

    name: str
    changing: bool = False
    process: str = ""
    ready: bool = False
    amiss: str = ""
    started: float = 0.0
    alive: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """`names`: replicas to be replaced now; `later`: those whose turn comes. `at`: when time alone changes that."""

    names: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    at: float | None = None


def judged(state: Rollout, pace: UpdateConfig, replicas: Sequence[Replica], now: float) -> Rollout:
    """After a look. One that is not under way stays as it is."""
    if not state.under_way:
        return state
    for replica in replicas:
        state = _forgotten(state, replica.name) if replica.changing else _watched(state, pace, replica, now)
    names = {replica.name for replica in replicas}
    failed = {name: why for name, why in state.failed.items() if name in names}
    state = replace(state, failed=failed)
    if pace.failure_action != "continue" and len(failed) > pace.max_failure_ratio * len(replicas):
        return _stopped(state, pace)
    if all(not each.changing and each.name in {*state.settled, *failed} for each in replicas):
        return state.done()
    return state


def _forgotten(state: Rollout, name: str) -> Rollout:
    return replace(
        state,
        watched=without(state.watched, name),
        ready=without(state.ready, name),
        settled=without(state.settled, name),
        failed=without(state.failed, name),
    )


def without(values: Mapping[str, T], name: str) -> dict[str, T]:
    """The same, without what is known of one replica."""
    return {each: value for each, value in values.items() if each != name}


def _watched(state: Rollout, pace: UpdateConfig, replica: Replica, now: float) -> Rollout:
    name = replica.name
    if name in state.settled or name in state.failed:
        return state
    known = state.watched.get(name)
    if replica.amiss:
        return replace(state, failed={**state.failed, name: replica.amiss})
    if known and replica.process and known != replica.process:
        return replace(state, failed={**state.failed, name: "it ended, and was started again"})
    if replica.process:
        state = replace(state, watched={**state.watched, name: replica.process})
    if not replica.ready:
        return replace(state, ready=without(state.ready, name))
    # a clock that was put back costs the time it is watched once more, not more
    since = min(state.ready.get(name, now), now)
    state = replace(state, ready={**state.ready, name: since})
    if now - since < pace.monitor:
        return state
    return replace(state, settled={**state.settled, name: since + pace.monitor})


def _stopped(state: Rollout, pace: UpdateConfig) -> Rollout:
    name, why = min(state.failed.items())
    more = f", and {len(state.failed) - 1} more failed" if len(state.failed) > 1 else ""
    why = f"Container/{name}: {why}{more}"
    if state.back:
        return replace(state, progress=Progress.HALTED, why=f"{state.why}; then {why}")
    if pace.failure_action != "rollback":
        return replace(state, progress=Progress.HALTED, why=why)
    if not state.good or state.good_asked == state.asked:
        return replace(state, progress=Progress.HALTED, why=f"{why}; there is nothing to go back to")
    return replace(state.afresh(), back=True, why=why, target="", surge=0)


def turn(state: Rollout, pace: UpdateConfig, replicas: Sequence[Replica], now: float) -> Turn:
    """Whose turn it is, after `judged`."""
    waiting = [replica for replica in replicas if replica.changing]
    names = tuple(replica.name for replica in waiting)
    if not state.under_way:
        # one that has ended loses nothing by being what is asked for
        ended = tuple(replica.name for replica in waiting if not replica.alive)
        return Turn(ended, tuple(name for name in names if name not in ended))
    ends = [at + pace.monitor for name, at in state.ready.items() if name not in state.settled]
    rested = max((min(at, now) for at in state.settled.values()), default=now - pace.delay) + pace.delay
    if waiting and rested > now:
        return Turn(later=names, at=min([*ends, rested]))
    chosen = _chosen(state, pace.parallelism or len(replicas), replicas)
    return Turn(chosen, tuple(name for name in names if name not in chosen), min(ends, default=None))


def _chosen(state: Rollout, parallelism: int, replicas: Sequence[Replica]) -> tuple[str, ...]:
    """Those that are not ready first: it costs nobody anything."""
    accepted = state.failed
    watched = [r for r in replicas if not r.changing and r.name not in state.settled and r.name not in accepted]
    down = [r for r in replicas if not r.ready and r.name not in accepted]
    slots = max(0, parallelism - len(watched))
    ailing = [r.name for r in replicas if r.changing and not r.ready][:slots]
    room = max(0, min(slots - len(ailing), parallelism - len(down)))
    return (*ailing, *[r.name for r in replicas if r.changing and r.ready][:room])
