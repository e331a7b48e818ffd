"""Rows that move, on a terminal: a spinner for each action under way, a bar for each blob, finished lines above."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.progress import Task as Row
from rich.text import Text

from reconciler.actions import Action, Step, Verb
from reconciler.apply import Outcome
from reconciler.caller import caller
from reconciler.cli.live import step_text
from reconciler.cli.quantities import size_text
from reconciler.cli.table import printable, shortened
from reconciler.cli.tell import told
from runtime.images.progress import Progress
from runtime.images.progress import Step as ImageStep
from schemas.names import Kind

WIDEST = 70


class _Bytes(ProgressColumn):
    """`12 MiB of 31 MiB`, for rows that count bytes."""

    def render(self, task: Row) -> Text:
        if not task.fields["counts"]:
            return Text("")
        of = f" of {size_text(int(task.total))}" if task.total else ""
        return Text(f"{size_text(int(task.completed))}{of}", style="cyan")


class _Bar(BarColumn):
    """A bar for rows that count bytes only."""

    def render(self, task: Row) -> RenderableType:  # type: ignore[override]
        return super().render(task) if task.fields["counts"] else Text("")


class Rows:
    """A display (see `live`)."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._actions: dict[Step, TaskID] = {}
        self._blobs: dict[tuple[str, ImageStep, str], TaskID] = {}
        self._one_at_a_time = threading.Lock()

    def watch(self, action: Action, outcome: Outcome | None) -> None:
        if outcome is None:
            self._actions[action.step] = self._row(under_way(action))
            return
        row = self._actions.pop(action.step, None)
        if row is not None:
            self._bars.remove_task(row)
        if (line := told(outcome)) is not None:
            text, colour, _ = line
            self._bars.console.print(Text(text, style=colour), soft_wrap=True)

    def report(self, progress: Progress) -> None:
        with self._one_at_a_time:
            named = (progress.image, progress.step, progress.subject)
            if progress.step is ImageStep.DONE:
                self._end(progress.image)
                return
            if named not in self._blobs:
                text = f"  {progress.image}: {step_text(progress)}"
                self._blobs[named] = self._row(text, total=progress.total, counts=True)
            self._bars.update(self._blobs[named], completed=progress.done, total=progress.total)
            if progress.total is not None and progress.done >= progress.total:
                self._bars.update(self._blobs[named], visible=False)

    def _row(self, text: str, *, total: int | None = None, counts: bool = False) -> TaskID:
        return self._bars.add_task(shortened(printable(text), WIDEST), total=total, counts=counts)

    def _end(self, image: str) -> None:
        for named in [each for each in self._blobs if each[0] == image]:
            self._bars.remove_task(self._blobs.pop(named))


def under_way(action: Action) -> str:
    """What a row says of an action: of a container that is replaced, first that the old one is stopped, which may take
    all its grace."""
    if action.replaces and action.verb is Verb.DELETE and action.key.kind is Kind.CONTAINER:
        return f"{action.symbol} {action.key} stopping: {action.reason}"
    return action.describe()


@contextmanager
def moving_rows() -> Iterator[Rows]:
    """Nothing of the rows is left at the end, but the lines about what ended."""
    who = caller()
    # of the caller's terminal, which need not be this process's
    console = Console(file=who.stdout(), width=who.columns, highlight=False, _environ=who.environment)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        _Bar(bar_width=20),
        _Bytes(),
        TimeElapsedColumn(),
    )
    # `sys.stdout` is everybody's in a daemon, so it is not to be put in another's place there
    own = not who.is_remote
    with RichProgress(*columns, console=console, transient=True, redirect_stdout=own, redirect_stderr=own) as bars:
        yield Rows(bars)
