"""What somebody sees while work is done: rows that move on a terminal, plain lines elsewhere, nothing for a program.

Called by `apply`, `delete` and `image`. A display is told of actions by the thread that plans them, and of pulls by any
thread. rich is imported on a terminal alone. Decides nothing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from reconciler.caller import caller
from reconciler.cli.quantities import size_text
from runtime.images.progress import Progress, Step

if TYPE_CHECKING:
    from reconciler.actions import Action
    from reconciler.apply import Outcome

WORDS = {
    Step.RESOLVE: "asking",
    Step.PULL: "pulling",
    Step.PUSH: "pushing",
    Step.COMPRESS: "compressing",
    Step.READ: "reading",
    Step.UNPACK: "unpacking",
    Step.BUILD: "building",
    Step.DONE: "done",
}


class Display(Protocol):
    """`watch` before and after each action, `report` at each step forward of an image."""

    def watch(self, action: Action, outcome: Outcome | None) -> None: ...

    def report(self, progress: Progress) -> None: ...


class Silent:
    """For `-o json`."""

    def watch(self, action: Action, outcome: Outcome | None) -> None:
        return None

    def report(self, progress: Progress) -> None:
        return None


class Plain:
    """One line for each action that ended, and for each blob when its work begins."""

    def __init__(self) -> None:
        # told from threads that are nobody's
        self._err = caller().stderr()
        self._begun: set[tuple[str, Step, str]] = set()
        self._one_at_a_time = threading.Lock()

    def watch(self, action: Action, outcome: Outcome | None) -> None:
        from reconciler.cli.tell import tell

        if outcome is not None:
            tell(outcome)

    def report(self, progress: Progress) -> None:
        with self._one_at_a_time:
            named = (progress.image, progress.step, progress.subject)
            if named in self._begun or progress.step is Step.UNPACK:
                return
            self._begun.add(named)
            size = f"  {size_text(progress.total)}" if progress.total else ""
            click.echo(f"{progress.image}: {step_text(progress)}{size}", file=self._err)


def step_text(progress: Progress) -> str:
    """`pulling 4f2a9c81d07e`, `reading standard input`."""
    return f"{WORDS[progress.step]} {_subject(progress)}".rstrip()


def _subject(progress: Progress) -> str:
    """A digest by its first twelve digits; anything else whole."""
    if progress.subject in ("", "-"):
        return {Step.RESOLVE: "the registry", Step.READ: "standard input"}.get(progress.step, "")
    algorithm, colon, encoded = progress.subject.partition(":")
    return encoded[:12] if colon and algorithm in ("sha256", "sha512") else progress.subject


@contextmanager
def display(*, quiet: bool) -> Iterator[Display]:
    """The display that fits: `quiet` for programs."""
    if quiet:
        yield Silent()
    elif sys.stdout.isatty() and caller().environment.get("TERM", "dumb") != "dumb":
        from reconciler.cli.live_rows import moving_rows

        with moving_rows() as rows:
            yield rows
    else:
        yield Plain()
