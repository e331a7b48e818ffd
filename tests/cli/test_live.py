"""What somebody sees meanwhile: rows that move on a terminal, plain lines elsewhere, nothing for programs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from reconciler.actions import Action, Plan, Step, Verb
from reconciler.apply import Outcome, Result, apply
from reconciler.cli.live import Plain, Silent, display, step_text
from reconciler.cli.live_rows import under_way
from reconciler.cli.tell import told
from runtime.images.progress import Progress
from runtime.images.progress import Step as ImageStep
from schemas.errors import Place, Refused
from schemas.names import Key, Kind
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine
from tests.cli.test_exec import Terminal

WEB = Key(Kind.CONTAINER, "web")
CREATE = Action(Verb.CREATE, WEB, "does not exist")
DIGEST = "sha256:" + "4f2a9c81d07e" + "0" * 52


def test_an_action_that_ended_is_one_line() -> None:
    assert told(Outcome(CREATE, Result.CREATED, 0.0123)) == (
        "+ Container/web create: does not exist  (12 ms)",
        "green",
        False,
    )


def test_a_failure_and_what_waited_for_it_say_why() -> None:
    failed = told(Outcome(CREATE, Result.FAILED, error=Refused("no such image", hint="pull it")))
    assert failed == ("! Container/web create failed: no such image; pull it", "red", True)
    cause = Refused("no manifest\nof that tag", object="Image/nginx", step="pull")
    waits = Outcome(CREATE, Result.SKIPPED, waits_for=Step(Verb.CREATE, Key(Kind.IMAGE, "nginx")), cause=cause)
    assert told(waits) == (
        "! Container/web skipped: waits for Image/nginx, which failed: pull: no manifest",
        "yellow",
        False,
    )


def test_a_failure_of_several_lines_stays_so_below_its_place() -> None:
    error = Refused("COPY: missing\n  COPY missing /\n  \x1b^", step="build", object="Container/web")
    error.place = Place("web.yaml", 3, 5)
    line = told(Outcome(CREATE, Result.FAILED, error=error))
    assert line is not None
    assert line[0].splitlines() == [
        "! Container/web create failed: build: COPY: missing  (web.yaml:3:5)",
        "      COPY missing /",
        "      �^",
    ]


def test_the_first_half_of_a_replacement_needs_no_line() -> None:
    delete = Action(Verb.DELETE, WEB, "changed", replaces=True)
    assert told(Outcome(delete, Result.DELETED)) is None
    assert told(Outcome(delete, Result.FAILED, error=OSError(16, "busy"))) is not None
    assert under_way(delete) == "± Container/web stopping: changed"


def test_the_time_of_a_replacement_is_that_of_both_halves() -> None:
    delete = Action(Verb.DELETE, WEB, "changed", replaces=True)
    create = Action(Verb.CREATE, WEB, "changed", replaces=True, after=(delete.step,))
    told_of: list[Outcome] = []

    def perform(action: Action) -> None:
        if action.verb is Verb.DELETE:
            time.sleep(0.02)

    def watch(action: Action, outcome: Outcome | None) -> None:
        told_of.extend([outcome] if outcome is not None else [])

    apply(Plan((delete, create)), perform, watch, parallel=1)
    stopped, made = told_of
    assert stopped.seconds >= 0.02 and made.took == stopped.seconds + made.seconds
    assert told(made) == (f"± Container/web replace: changed  ({made.took * 1000:.0f} ms)", "magenta", False)
    assert under_way(create) == "± Container/web replace: changed"


def test_plain_lines_tell_each_blob_once(capsys: pytest.CaptureFixture[str]) -> None:
    plain = Plain()
    for done in (0, 10, 20):
        plain.report(Progress("nginx", ImageStep.PULL, DIGEST, done, 20))
    plain.report(Progress("nginx", ImageStep.UNPACK, DIGEST, 5, 20))
    assert capsys.readouterr().err == "nginx: pulling 4f2a9c81d07e  20 B\n"


def test_steps_without_a_subject_have_words() -> None:
    assert step_text(Progress("x", ImageStep.RESOLVE)) == "asking the registry"
    assert step_text(Progress("x", ImageStep.READ, "-")) == "reading standard input"


def test_programs_are_told_nothing_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    with display(quiet=True) as shown:
        assert isinstance(shown, Silent)
        shown.report(Progress("nginx", ImageStep.PULL, DIGEST, 1, 2))
        shown.watch(CREATE, Outcome(CREATE, Result.CREATED))
    assert capsys.readouterr() == ("", "")


@pytest.mark.kernel
def test_a_terminal_shows_rows_that_move_and_keeps_the_lines(engine: Engine, busybox_tree: Path) -> None:
    file = engine.write("shop.yaml", shop_manifest(busybox_tree))
    terminal = Terminal(engine.command("apply", file), 30, 100)
    try:
        terminal.read_until("\x1b[?25l")  # the cursor is hidden while rows move
        kept = b""
        while b"Applied: " not in kept:
            terminal.read_until("\n")
            kept += b"\n" + terminal.last
        assert terminal.process.wait(30) == 0
    finally:
        terminal.close()
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", kept).decode()
    assert "+ Container/db create: does not exist" in text
    assert b"\x1b[?25h" in kept
