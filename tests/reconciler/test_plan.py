"""The planner's rules, one base case and one change each: the whole plan is compared, reasons included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.actions import Action, Effect, Plan, Step, Verb
from reconciler.apply import Result, apply
from reconciler.desired import Observed
from reconciler.partial import without
from reconciler.plan import plan
from schemas.errors import RetryLater
from schemas.names import Key, Kind
from tests.reconciler.worlds import SHOP, all_converged, container, converged, desired

DB = container("db")
FRONT = Key(Kind.NETWORK, "front")


def told(made: Plan) -> list[str]:
    return [action.describe() for action in made.effective]


def test_everything_is_good_do_nothing() -> None:
    want = desired(SHOP)
    made = plan(want, all_converged(want), {})
    assert made.empty
    assert made.counts() == {"create": 0, "update": 0, "replace": 0, "delete": 0, "unchanged": 7}


def test_an_empty_machine_gets_everything_dependencies_first() -> None:
    made = plan(desired(SHOP), {}, {})
    assert told(made) == [
        "+ Image/busybox create: does not exist",
        "+ Network/front create: does not exist",
        "+ Volume/data create: does not exist",
        "+ Container/db create: does not exist",
        "+ Container/web-1 create: does not exist",
        "+ Container/web-2 create: does not exist",
        "+ Service/web create: does not exist",
    ]


CHANGES = [
    pytest.param(
        "mem_limit: 64m",
        "mem_limit: 128m",
        ["~ Container/db update: spec.mem_limit: 67108864 → 134217728"],
        id="a limit is changed in place",
    ),
    pytest.param(
        'command: [sleep, "1000"]',
        'command: [sleep, "2000"]',
        ["± Container/db replace: spec.command: [sleep, 1000] → [sleep, 2000]"],
        id="another command replaces the container",
    ),
    pytest.param(
        "  mem_limit: 64m\n",
        "  mem_limit: 64m\n  hostname: database\n",
        ["~ Container/db restart: spec.hostname: (none) → database"],
        id="another host name restarts it with its writable layer",
    ),
    pytest.param(
        "replicas: 2",
        "replicas: 3",
        ["+ Container/web-3 create: does not exist"],
        id="one more replica is one more container",
    ),
    pytest.param(
        "{rootfs: /srv/busybox}",
        "{rootfs: /srv/other}",
        ["~ Image/busybox update: spec.rootfs: /srv/busybox → /srv/other"],
        id="another root file system changes the image in place",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES)
def test_a_change_of_the_manifest(old: str, new: str, expected: list[str]) -> None:
    assert old in SHOP
    want = desired(SHOP.replace(old, new))
    made = plan(want, all_converged(desired(SHOP)), {})
    assert [line for line in dict.fromkeys(told(made)) if line in expected] == expected
    others = {action.key for action in made.effective} - {Key.parse(line.split()[1]) for line in expected}
    assert others <= followers(expected[0])


def followers(line: str) -> set[Key]:
    """Whom a change may take along: containers of an image, the service of a replica."""
    if "Image/" in line:
        return {DB, container("web-1"), container("web-2"), Key(Kind.SERVICE, "web")}
    return {Key(Kind.SERVICE, "web")}


def test_a_changed_image_replaces_what_runs_it() -> None:
    want = desired(SHOP.replace("/srv/busybox", "/srv/other"))
    made = plan(want, all_converged(desired(SHOP)), {})
    replaced = {action.key for action in made.effective if action.replaces}
    assert replaced == {DB, container("web-1"), container("web-2")}


def test_a_changed_label_of_an_image_replaces_nothing() -> None:
    labelled = SHOP.replace("metadata: {name: busybox}", "metadata: {name: busybox, labels: {a: b}}")
    made = plan(desired(labelled), all_converged(desired(SHOP)), {})
    assert told(made) == ["~ Image/busybox update: metadata.labels.a: (none) → b"]


def drifted(key: Key, change: Callable[[dict[str, Any]], None]) -> dict[Key, Observed]:
    """A converged machine on which somebody changed one object."""
    found = all_converged(desired(SHOP))
    facts = _copy(found[key].facts)
    change(facts)
    found[key] = replace(found[key], facts=facts)
    return found


def _copy(value: Any) -> Any:
    return {name: _copy(item) for name, item in value.items()} if isinstance(value, dict) else value


DRIFTS = [
    pytest.param(
        DB,
        lambda facts: facts.update(process="killed by signal 9"),
        ["~ Container/db update: drift: process: killed by signal 9 → running"],
        id="a killed process is started again",
    ),
    pytest.param(
        DB,
        lambda facts: facts["limits"]["memory"].update(limit=1),
        ["~ Container/db update: drift: limits.memory.limit: 1 → 67108864"],
        id="a limit edited by hand is set back",
    ),
    pytest.param(
        DB,
        lambda facts: facts["endpoints"].update(front=None),
        ["~ Container/db update: drift: endpoints.front: (none) →"],
        id="a link that vanished is plugged again",
    ),
    pytest.param(
        DB,
        lambda facts: facts["mounts"].update({"/data": None}),
        ['~ Container/db restart: drift: mounts["/data"]: (none) → mounted'],
        id="a mount that vanished restarts the container",
    ),
    pytest.param(
        DB,
        lambda facts: facts.update(bundle=None),
        ["± Container/db replace: drift: bundle: (none) → present"],
        id="a container whose directory is gone is replaced",
    ),
    pytest.param(
        FRONT,
        lambda facts: facts.update(link=None),
        ["~ Network/front update: drift: link: (none) →"],
        id="a deleted bridge is made again",
    ),
    pytest.param(
        Key(Kind.IMAGE, "busybox"),
        lambda facts: facts.update(content="a layer is missing"),
        ["~ Image/busybox update: drift: content: a layer is missing → intact"],
        id="a damaged image is mended",
    ),
]


@pytest.mark.parametrize(("key", "change", "expected"), DRIFTS)
def test_drift_is_seen_and_named(key: Key, change: Callable[[dict[str, Any]], None], expected: list[str]) -> None:
    made = plan(desired(SHOP), drifted(key, change), {})
    mine = [action for action in made.effective if action.key == key]
    assert any(action.describe().startswith(expected[0]) for action in mine), told(made)
    assert all(change.drift for action in mine for change in action.changes)


def test_a_process_that_completed_is_left_alone_unless_it_is_to_run_always() -> None:
    done = drifted(DB, lambda facts: facts.update(process="completed"))
    assert plan(desired(SHOP), done, {}).empty
    always = desired(SHOP.replace("  mem_limit: 64m\n", "  mem_limit: 64m\n  restart: always\n"))
    assert any("process: completed → running" in line for line in told(plan(always, done, {})))


def test_a_stopped_container_is_stopped_and_then_left_alone() -> None:
    want = desired(SHOP.replace("  mem_limit: 64m\n", "  mem_limit: 64m\n  state: stopped\n"))
    made = plan(want, all_converged(desired(SHOP)), {})
    assert any("spec.state: (none) → stopped" in line for line in told(made))
    stopped = all_converged(want)
    stopped[DB] = replace(stopped[DB], facts={"bundle": "present", "process": "exit code 143"})
    assert plan(want, stopped, {}).empty


def test_deletion_goes_from_dependents_to_dependencies() -> None:
    want = desired(SHOP)
    prune = dict.fromkeys(want, "no longer in the manifests")
    steps = [action.step for action in plan({}, all_converged(want), prune).actions]
    assert steps.index(Step(Verb.DELETE, DB)) < steps.index(Step(Verb.DELETE, FRONT))
    assert steps.index(Step(Verb.DELETE, Key(Kind.SERVICE, "web"))) < steps.index(Step(Verb.DELETE, container("web-1")))
    assert steps.index(Step(Verb.DELETE, container("web-1"))) < steps.index(Step(Verb.DELETE, DB))


def test_a_replacement_deletes_before_it_creates() -> None:
    want = desired(SHOP.replace('"1000"', '"2000"'))
    made = plan(want, all_converged(desired(SHOP)), {})
    steps = [action.step for action in made.effective if action.key == DB]
    assert steps == [Step(Verb.DELETE, DB), Step(Verb.CREATE, DB)]


def test_a_lost_record_replaces_a_container_and_rewrites_others() -> None:
    want = desired(SHOP)
    found = all_converged(want)
    found[DB] = replace(found[DB], fields=None)
    found[FRONT] = replace(found[FRONT], fields=None)
    lines = told(plan(want, found, {}))
    assert "± Container/db replace: its record is lost" in lines
    assert "~ Network/front update: its record is lost" in lines


def test_effects_are_ordered_so_that_the_farthest_wins() -> None:
    assert max(Effect.LIVE, Effect.REPLACE, Effect.RESTART) is Effect.REPLACE
    both = SHOP.replace("mem_limit: 64m", "mem_limit: 128m").replace('"1000"', '"2000"')
    made = plan(desired(both), all_converged(desired(SHOP)), {})
    assert {action.verb for action in made.effective if action.key == DB} == {Verb.DELETE, Verb.CREATE}


def test_a_service_lives_on_when_converged_replicas_are_added() -> None:
    want = desired(SHOP.replace("replicas: 2", "replicas: 3"))
    found = all_converged(desired(SHOP))
    assert converged(want[Key(Kind.SERVICE, "web")]).fields is not None
    actions = {action.key: action for action in plan(want, found, {}).effective}
    assert actions[Key(Kind.SERVICE, "web")].verb is Verb.UPDATE


WORKER = """
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: worker}
spec: {image: busybox, depends_on: [web]}
"""
WEB = Key(Kind.SERVICE, "web")


def test_a_service_needs_no_replica_to_succeed_but_comes_after_them() -> None:
    (made,) = [action for action in plan(desired(SHOP), {}, {}).actions if action.key == WEB]
    assert set(made.behind) == {Step(Verb.CREATE, container("web-1")), Step(Verb.CREATE, container("web-2"))}
    assert made.after == (Step(Verb.CREATE, FRONT),)


def test_who_depends_on_a_service_needs_every_replica() -> None:
    (made,) = [action for action in plan(desired(SHOP + WORKER), {}, {}).actions if action.key == container("worker")]
    assert {Step(Verb.CREATE, key) for key in (WEB, container("web-1"), container("web-2"))} <= set(made.after)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_service_is_made_with_the_replicas_that_do_not_fail(fresh: bool) -> None:
    want = desired(SHOP + WORKER)
    found = {} if fresh else all_converged(want)
    for key in (container("web-1"), container("worker")) if not fresh else ():
        found[key] = replace(found[key], facts={**want[key].facts, "process": "killed by signal 9"})

    def perform(action: Action) -> None:
        if action.key == container("web-1"):
            raise RetryLater("cannot start")

    outcomes = apply(plan(want, found, {}), perform, lambda action, outcome: None, 2)
    results = {each.action.key: each.result for each in outcomes}
    assert results[container("web-1")] is Result.FAILED
    assert results[WEB] is (Result.CREATED if fresh else Result.UNCHANGED)
    assert results[container("worker")] is Result.SKIPPED


def test_a_service_is_repaired_while_a_replica_is_left_alone_and_else_nothing_is_done_to_it() -> None:
    want = desired(SHOP)
    found = all_converged(want)
    found[container("web-1")] = replace(found[container("web-1")], facts={"process": "killed by signal 9"})
    balance = want[WEB].facts["balance"]["front"]
    without_one = {**balance, "backends": {"web-2": balance["backends"]["web-2"]}}
    for standing, keys in (({}, [WEB]), ({"front": without_one}, [])):
        found[WEB] = replace(found[WEB], facts={**want[WEB].facts, "balance": standing})
        left = without(plan(want, found, {}), {container("web-1")})
        assert [action.key for action in left.effective] == keys
