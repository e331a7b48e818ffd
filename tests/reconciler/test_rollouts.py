"""Whose turn it is, who has failed, and what follows: by tables, and against replicas that live and die at random."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.rollouts.pace import Replica, Turn, judged, turn
from reconciler.rollouts.state import Progress, Rollout, read_rollout
from reconciler.rollouts.substitution import begun
from schemas.deploy import UpdateConfig

GOOD: dict[str, object] = {"Service/web": {"manifest": {}}}
BEGUN = Rollout(asked="new", good=GOOD, good_asked="old").afresh()


def pace(**more: object) -> UpdateConfig:
    return UpdateConfig.model_validate({"monitor": "5s", **more})


def old(number: int, **more: object) -> Replica:
    return replace(Replica(f"web-{number}", changing=True, process=f"old {number}", ready=True), **more)  # type: ignore[arg-type]


def new(number: int, **more: object) -> Replica:
    return replace(Replica(f"web-{number}", process=f"new {number}", ready=True), **more)  # type: ignore[arg-type]


def after(*looks: tuple[float, list[Replica]], of: UpdateConfig) -> Rollout:
    state = BEGUN
    for now, replicas in looks:
        state = judged(state, of, replicas, now)
    return state


def test_at_most_parallelism_are_replaced_at_first() -> None:
    replicas = [old(number) for number in (1, 2, 3)]
    assert turn(BEGUN, pace(parallelism=2), replicas, 0.0) == Turn(("web-1", "web-2"), ("web-3",))
    assert turn(BEGUN, pace(parallelism=0), replicas, 0.0).names == ("web-1", "web-2", "web-3")


def test_one_that_is_not_ready_goes_first() -> None:
    replicas = [old(1), old(2), old(3, ready=False)]
    assert turn(BEGUN, pace(), replicas, 0.0).names == ("web-3",)


def test_the_next_waits_until_the_last_was_ready_for_monitor_and_delay() -> None:
    wanted, replicas = pace(delay="10s"), [new(1), old(2)]
    seen = after((100.0, replicas), of=wanted)
    assert turn(seen, wanted, replicas, 100.0) == Turn(later=("web-2",), at=105.0)
    well = judged(seen, wanted, replicas, 106.0)
    assert well.settled == {"web-1": 105.0}
    assert turn(well, wanted, replicas, 106.0) == Turn(later=("web-2",), at=115.0)
    assert turn(well, wanted, replicas, 115.0).names == ("web-2",)


def test_one_that_is_starting_counts_from_when_it_is_healthy() -> None:
    starting = [new(1, ready=False), old(2)]
    seen = after((0.0, starting), (50.0, starting), (60.0, [new(1), old(2)]), of=pace())
    assert seen.ready == {"web-1": 60.0} and not seen.settled


@pytest.mark.parametrize(
    ("look", "why"),
    [
        (new(1, ready=False, amiss="exit code 3"), "exit code 3"),
        (new(1, process="another"), "it ended, and was started again"),
    ],
)
def test_one_that_ends_while_it_is_watched_has_failed(look: Replica, why: str) -> None:
    found = after((0.0, [new(1), old(2)]), (1.0, [look, old(2)]), of=pace())
    assert (found.progress, found.why) == (Progress.HALTED, f"Container/web-1: {why}")
    assert turn(found, pace(), [look, old(2)], 2.0) == Turn(later=("web-2",))


def test_one_that_ends_after_it_was_watched_has_not() -> None:
    ended = [new(1, ready=False, amiss="exit code 3"), old(2)]
    found = after((0.0, [new(1), old(2)]), (5.0, [new(1), old(2)]), (6.0, ended), of=pace())
    assert found.under_way and not found.failed
    assert turn(found, pace(), ended, 6.0).names == ()


def test_one_that_has_ended_is_made_as_it_is_asked_for_though_the_rollout_is_halted() -> None:
    halted = replace(BEGUN, progress=Progress.HALTED)
    assert turn(halted, pace(), [old(1), old(2, ready=False, alive=False)], 0.0) == Turn(("web-2",), ("web-1",))


def test_a_failure_brings_back_what_was_well_once() -> None:
    wanted = pace(failure_action="rollback")
    dead = [new(1, ready=False, amiss="exit code 3"), old(2)]
    back = after((0.0, dead), of=wanted)
    assert back.back and back.under_way and back.stalled == "rolled back: Container/web-1: exit code 3"
    again = judged(back, pace(), [new(1, ready=False, amiss="exit code 4")], 1.0)
    assert again.progress is Progress.HALTED and again.why.endswith("; then Container/web-1: exit code 4")
    alone = judged(replace(BEGUN, good={}), wanted, dead, 0.0)
    assert alone.progress is Progress.HALTED and alone.why.endswith("there is nothing to go back to")


def test_as_many_may_fail_as_the_ratio_says() -> None:
    wanted = pace(max_failure_ratio=0.25)
    replicas = [new(1, ready=False, amiss="exit code 3"), old(2), old(3), old(4)]
    found = after((0.0, replicas), of=wanted)
    assert found.under_way and turn(found, wanted, replicas, 0.0).names == ("web-2",)
    more = judged(found, wanted, [replicas[0], new(2, ready=False, amiss="gone"), *replicas[2:]], 1.0)
    assert more.progress is Progress.HALTED and more.why == "Container/web-1: exit code 3, and 1 more failed"


def test_other_manifests_begin_anew_and_the_last_good_ones_are_kept() -> None:
    done = Rollout(asked="old")
    first = begun(done, "new", GOOD)
    assert (first.good, first.good_asked, first.asked) == (GOOD, "old", "new")
    halted = replace(first, progress=Progress.HALTED, why="it failed")
    other = begun(halted, "newer", {"Service/web": {"manifest": {"bad": 1}}})
    assert (other.good, other.good_asked, other.why) == (GOOD, "old", "") and other.under_way
    assert begun(halted, "new", {}) == halted
    assert read_rollout(json.loads(json.dumps(halted.fields()))) == halted
    assert read_rollout({"of": "another version"}) == Rollout()


@dataclass
class World:
    """Replicas that are replaced at once when told so, and are ready or dead a while later."""

    wanted: UpdateConfig
    count: int
    fails: frozenset[int]
    slow: int
    now: float = 1000.0
    replaced: dict[int, float] = field(default_factory=dict)
    state: Rollout = BEGUN

    def look(self) -> list[Replica]:
        return [self._one(number) for number in range(1, self.count + 1)]

    def _one(self, number: int) -> Replica:
        if number not in self.replaced:
            return old(number)
        if self.now - self.replaced[number] < self.slow:
            return new(number, ready=False)
        return new(number, ready=False, amiss="exit code 3") if number in self.fails else new(number)

    def step(self) -> None:
        replicas = self.look()
        self.state = judged(self.state, self.wanted, replicas, self.now)
        for name in turn(self.state, self.wanted, replicas, self.now).names:
            number = int(name.rpartition("-")[2])
            assert number not in self.replaced
            self.replaced[number] = self.now
        self.now += 1.0


PACES = st.builds(
    lambda parallelism, delay, monitor, ratio, action: UpdateConfig.model_validate(
        {
            "parallelism": parallelism,
            "delay": f"{delay}s",
            "monitor": f"{monitor}s",
            "max_failure_ratio": ratio,
            "failure_action": action,
        }
    ),
    st.integers(0, 4),
    st.integers(0, 3),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from(["pause", "continue", "rollback"]),
)
WORLDS = st.builds(World, PACES, st.integers(1, 7), st.frozensets(st.integers(1, 7)), st.integers(0, 3))
LONG = 150


def forgetful(world: World, moment: int, step: int) -> None:
    """The daemon was killed before it wrote anything: all that was seen is lost, and not what is asked for."""
    if moment == step:
        world.state = replace(world.state.afresh(), failed=world.state.failed) if world.state.under_way else world.state


@given(WORLDS, st.integers(0, 40))
def test_never_more_than_parallelism_are_down(world: World, moment: int) -> None:
    for step in range(LONG):
        forgetful(world, moment, step)
        world.step()
        down = [each for each in world.look() if not each.ready and each.name not in world.state.failed]
        dead = [each for each in down if each.amiss]
        assert len(down) - len(dead) <= (world.wanted.parallelism or world.count)


@given(WORLDS, st.integers(0, 40))
def test_what_does_not_fail_comes_to_its_end(world: World, moment: int) -> None:
    world.fails = frozenset()
    for step in range(LONG):
        forgetful(world, moment, step)
        world.step()
    assert world.state.progress is Progress.DONE and len(world.replaced) == world.count


@given(WORLDS)
def test_what_always_fails_replaces_no_more_than_is_allowed(world: World) -> None:
    world.fails = frozenset(range(1, world.count + 1))
    for _ in range(LONG):
        if world.state.back:
            break
        world.step()
    if world.wanted.failure_action == "continue":
        assert world.state.progress is Progress.DONE
        return
    allowed = int(world.wanted.max_failure_ratio * world.count)
    assert len(world.replaced) <= allowed + (world.wanted.parallelism or world.count)
    assert world.state.back or world.state.progress is not Progress.UNDER_WAY
