"""Ctrl-C and --timeout: what is under way is finished, the rest is skipped, the next apply does it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.actions import Action, Plan, Step, Verb
from reconciler.apply import NOT_MADE_ANEW, Result, Stopped, apply, waited_for
from reconciler.cli.acting import summary
from reconciler.cli.interrupt import interruptible
from reconciler.cli.tell import told
from reconciler.reconcile import recorded
from reconciler.store.database import Database
from reconciler.store.events import read_events
from runtime.process import client
from schemas.errors import Refused, RetryLater
from schemas.names import Key, Kind
from tests.cli.engine import Engine, Running
from tests.cli.test_logs import until

FIRST, SECOND, OTHER = (Key(Kind.CONTAINER, name) for name in ("first", "second", "other"))

CHAIN = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: setup}
spec: {image: busybox, command: [sleep, "SECONDS"], restart: "no", stop_grace_period: 0s}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: middle}
spec:
  image: busybox
  command: [sleep, "100000"]
  stop_grace_period: 0s
  depends_on: {setup: {condition: service_completed_successfully}}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: last}
spec: {image: busybox, command: [sleep, "100000"], stop_grace_period: 0s, depends_on: [middle]}
"""

STUBBORN = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: stubborn}
spec:
  image: busybox
  command: [sh, -c, "trap 'echo asked to end' TERM; while true; do sleep 0.1; done; sleep SECONDS"]
  stop_grace_period: 30s
"""


def chain() -> Plan:
    return Plan(
        (
            Action(Verb.CREATE, FIRST, "does not exist"),
            Action(Verb.CREATE, OTHER, "does not exist"),
            Action(Verb.CREATE, SECOND, "does not exist", after=(Step(Verb.CREATE, FIRST),)),
        )
    )


def test_what_is_under_way_finishes_and_the_rest_is_skipped() -> None:
    done: list[Key] = []
    outcomes = apply(chain(), lambda action: done.append(action.key), lambda *_: None, 1, lambda: bool(done))
    assert done == [FIRST]
    assert {outcome.action.key: outcome.result for outcome in outcomes} == {
        FIRST: Result.CREATED,
        OTHER: Result.SKIPPED,
        SECOND: Result.SKIPPED,
    }


def replaced(key: Key, *after: Step) -> tuple[Action, Action]:
    """A replacement; its second half also after these."""
    gone = Step(Verb.DELETE, key)
    return (
        Action(Verb.DELETE, key, "other image", replaces=True),
        Action(Verb.CREATE, key, "other image", after=(gone, *after), replaces=True),
    )


def test_a_replacement_that_has_begun_is_finished_with_all_that_it_needs() -> None:
    network = Key(Kind.NETWORK, "net")
    old, new = replaced(FIRST, Step(Verb.CREATE, network))
    need = Action(Verb.CREATE, network, "does not exist", after=(old.step,))
    done: list[Step] = []
    plan = Plan((old, need, new, *replaced(SECOND)))
    outcomes = apply(plan, lambda action: done.append(action.step), lambda *_: None, 1, lambda: bool(done))
    assert done == [old.step, need.step, new.step]
    assert [each.result for each in outcomes if each.action.key == SECOND] == [Result.SKIPPED, Result.SKIPPED]
    assert not any(outcome.gone for outcome in outcomes)
    assert summary(outcomes) == "Applied: 1 created, 1 replaced, 1 skipped."


@pytest.mark.parametrize("what_fails", ["the image", "the deletion"])
def test_a_replacement_that_never_began_is_told_and_counted_once(what_fails: str, tmp_path: Path) -> None:
    image = Action(Verb.CREATE, Key(Kind.IMAGE, "new"), "does not exist")
    old, new = replaced(FIRST, image.step)
    old = replace(old, after=(image.step,))

    def perform(action: Action) -> None:
        if action in ((image,) if what_fails == "the image" else (old,)):
            raise Refused("it cannot be had")

    database = Database(tmp_path / "store")
    outcomes = apply(Plan((image, old, new)), perform, recorded(database, lambda *_: None), 1)
    lines = [line[0] for outcome in outcomes if (line := told(outcome)) is not None and str(FIRST) in line[0]]
    if what_fails == "the image":
        assert lines == ["! Container/first skipped: waits for Image/new, which failed: it cannot be had"]
        assert summary(outcomes) == "Applied: 1 failed, 1 skipped."
    else:
        assert lines == ["! Container/first delete failed: it cannot be had"]
        assert summary(outcomes) == "Applied: 1 created, 1 failed."
    assert len(list(read_events(database, str(FIRST)))) == 1
    database.close()


def test_what_waits_at_the_end_of_a_chain_names_what_failed_first() -> None:
    end = Action(Verb.CREATE, Key(Kind.CONTAINER, "end"), "does not exist", after=(Step(Verb.CREATE, SECOND),))

    def perform(action: Action) -> None:
        raise Refused(f"{action.key.name} cannot be had")

    outcomes = apply(Plan((chain().actions[0], chain().actions[2], end)), perform, lambda *_: None, 1)
    assert {waited_for(each) for each in outcomes if each.result is Result.SKIPPED} == {
        "waits for Container/first, which failed: first cannot be had"
    }


@pytest.mark.parametrize(
    ("cause", "result", "told_as", "counted"),
    [
        (Stopped(), Result.SKIPPED, "! Container/first skipped: no action begins any more; ", "1 deleted, 1 skipped"),
        (RetryLater("no"), Result.FAILED, "! Container/first create failed: no; ", "1 deleted, 1 failed"),
    ],
)
def test_a_replacement_that_only_deleted_says_so(
    cause: Exception, result: Result, told_as: str, counted: str, tmp_path: Path
) -> None:
    def perform(action: Action) -> None:
        if action.verb is Verb.CREATE:
            raise cause

    database = Database(tmp_path / "store")
    outcomes = apply(Plan(replaced(FIRST)), perform, recorded(database, lambda *_: None), 1)
    assert [(each.result, each.gone) for each in outcomes] == [(Result.DELETED, False), (result, True)]
    line = told(outcomes[1])
    assert line is not None and line[0] == told_as + NOT_MADE_ANEW
    assert summary(outcomes) == f"Applied: {counted}."
    events = read_events(database)
    assert [event.reason for event in events] == ["Deleted", result.value.capitalize()]
    assert not any("None" in event.message for event in events)
    database.close()


def test_nobody_interrupts_in_another_thread_than_the_main_one() -> None:
    seen: list[bool] = []

    def run() -> None:
        with interruptible() as interrupted:
            seen.append(interrupted())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]


@pytest.fixture
def chained(image_only: Engine) -> Iterator[Engine]:
    """Afterwards nothing of CHAIN is left."""
    try:
        yield image_only
    finally:
        image_only.ok("delete", "--set", "chain")


def names(engine: Engine) -> set[str]:
    return set(engine.ok("get", "containers", "-o", "name").lines)


def set_up_waited_for(running: Running) -> None:
    """Setup runs and middle waits for its end: nothing else is left to begin."""
    until(lambda: "+ Container/setup create" in running.so_far().out)


@pytest.mark.kernel
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_apply_waits_for_nobody_and_the_next_one_finishes(
    chained: Engine, number: signal.Signals
) -> None:
    chained.write("chain.yaml", CHAIN.replace("SECONDS", "60"))
    running = chained.start("apply", "--set", "chain", "chain.yaml")
    set_up_waited_for(running)
    running.process.send_signal(number)
    said = running.wait(20)
    assert said.code == 130
    assert "interrupted: what is under way is finished, the rest is skipped" in said.err
    assert "interrupted; the next apply does the rest" in said.err
    assert "! Container/middle skipped" in said.out and "! Container/last skipped" in said.out
    assert "Traceback" not in said.err
    chained.write("chain.yaml", CHAIN.replace("SECONDS", "0.1"))
    again = chained.ok("apply", "--set", "chain", "chain.yaml")
    assert "+ Container/last create: does not exist" in again.out
    assert chained.run("diff", "--set", "chain", "chain.yaml").code == 0


@pytest.mark.kernel
def test_a_second_ctrl_c_leaves_at_once_and_the_next_apply_still_finishes(chained: Engine) -> None:
    chained.write("chain.yaml", STUBBORN.replace("SECONDS", "100"))
    chained.ok("apply", "--set", "chain", "chain.yaml")
    chained.write("chain.yaml", STUBBORN.replace("SECONDS", "101").replace("30s", "0s"))
    running = chained.start("apply", "--set", "chain", "chain.yaml")
    # it has asked its container to end, which does not
    until(lambda: "asked to end" in chained.run("logs", "stubborn").out)
    running.interrupt()
    until(lambda: "Ctrl-C again leaves at once" in running.so_far().err)
    before = time.monotonic()
    running.interrupt()
    said = running.wait(30)
    assert said.code == 130
    assert time.monotonic() - before < 3
    assert "left at once; the next apply finishes" in said.err
    client.kill(chained.layout, "stubborn", signal.SIGKILL)
    chained.ok("apply", "--set", "chain", "chain.yaml")
    assert chained.run("diff", "--set", "chain", "chain.yaml").code == 0


@pytest.mark.kernel
def test_after_the_timeout_no_action_begins_and_none_waits_on(chained: Engine) -> None:
    chained.write("chain.yaml", CHAIN.replace("SECONDS", "60"))
    said = chained.start("apply", "--set", "chain", "--timeout", "1s", "chain.yaml").wait(20)
    assert said.code == 1
    assert "the 1 s of --timeout have passed; the next apply does the rest" in said.err
    assert "! Container/middle skipped" in said.out and "! Container/last skipped" in said.out
    chained.write("chain.yaml", CHAIN.replace("SECONDS", "0.1"))
    chained.ok("apply", "--set", "chain", "chain.yaml")


@pytest.mark.kernel
def test_what_is_no_duration_is_wrong_usage(engine: Engine) -> None:
    said = engine.run("apply", "--timeout", "soon", "x.yaml")
    assert said.code == 2
    assert "'soon' is no duration" in said.err
