"""The effects half of a build: the steps that need doing, done, as many at a time as there are processors.

What is cached is looked up first, before any tree is touched: a build in which nothing changed does nothing. Every
outcome is remembered before the next step begins, so that a build that was killed is taken up where it stood. Called by
`build`; how an image is put together from the outcomes is its business.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.build.archives import unpack
from reconciler.build.bases import Base
from reconciler.build.cache import Outcome, recall, remember
from reconciler.build.contexts import Context
from reconciler.build.fetch import Fetched, Fetching
from reconciler.build.graph import BuildGraph
from reconciler.build.keys import Outside, early_keys, needed, ready, unneeded
from reconciler.build.layer import Owner, Plan
from reconciler.build.place import At
from reconciler.build.scan import HasFiles, scan_for, with_digests
from reconciler.build.select import Taken, digest, select
from reconciler.build.shared import Sharing
from reconciler.build.steps import (
    Execute,
    FromContext,
    FromRemote,
    Input,
    MakeDirectory,
    Start,
    Step,
    Transfer,
    cache_key,
)
from reconciler.build.trees import empty_tree, opened, tree_directories
from reconciler.build.wanted import BuildWanted, Tell, Told
from reconciler.bundle.user import resolve_user
from runtime.images.leases import Lease
from runtime.images.making import Making
from runtime.images.rootfs import Sink
from runtime.process.failure import ProcessFailed
from schemas.dockerfile.parse import Dockerfile
from schemas.errors import Refused

if TYPE_CHECKING:
    from reconciler.build.run import Room

Source = Fetched | tuple[HasFiles, tuple[Taken, ...]]
"""What an input takes: something fetched, or files of a tree."""
PARALLEL = max(2, os.cpu_count() or 1)


@dataclass(slots=True)
class Solver:
    """One build. `contexts` are open; `images` are contexts that are images; `fetching` brings what is elsewhere."""

    making: Making
    wanted: BuildWanted
    dockerfile: Dockerfile
    graph: BuildGraph
    bases: Mapping[str, Base]
    contexts: Mapping[str, Context]
    images: Mapping[str, Base]
    fetching: Fetching
    tell: Tell
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    early: dict[int, str] = field(default_factory=dict)
    worked: int = 0
    """Steps that had to be done."""
    borrowed: set[int] = field(default_factory=set)
    """Steps whose outcome somebody else made, or that were done on top of such ones."""
    fetched: dict[FromRemote, Fetched] = field(default_factory=dict)
    _starts: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _locks: dict[int, threading.Lock] = field(default_factory=dict)
    _rooms: set[str] = field(default_factory=set)
    _rooms_lock: threading.Lock = field(default_factory=threading.Lock)
    _is_stopping: bool = False
    _redone: set[int] = field(default_factory=set)
    _sharing: Sharing | None = None

    # what is there already

    def look(self) -> None:
        """Learn the early key of every step: contexts are digested, nothing is done. Raises as `solve`."""
        starts = {step.number: self._start_identity(step) for step in self.graph.steps if isinstance(step.work, Start)}
        self.early = early_keys(self.graph.steps, starts, self._digest_outside)

    def solve(self) -> None:
        """Afterwards `outcomes` has every step that the image is made of. Raises Invalid, Refused, RetryLater."""
        steps = self.graph.steps
        self.look()
        self._locks = {step.number: threading.Lock() for step in steps}
        target = self.graph.result.tree
        found = self._recall_all()
        self._borrow_all(found)
        skipped = unneeded(steps, target, found.keys())
        self.outcomes = found
        for number in sorted(self.outcomes):
            self.tell(Told("cached", number, steps[number].title, place=steps[number].place))
        to_do = [
            step.number
            for step in steps
            if step.number not in skipped and step.number not in self.outcomes and not isinstance(step.work, Start)
        ]
        self._do_all(to_do)

    def _recall_all(self) -> dict[int, Outcome]:
        found: dict[int, Outcome] = {}
        for step in self.graph.steps:
            if isinstance(step.work, Start):
                continue
            if not step.is_cached or step.needs & self._redone:
                self._redone.add(step.number)
                continue
            outcome = recall(self.making.layout, self._lease, self.early[step.number])
            if outcome is None and self.sharing.sources:
                outcome = recall(self.making.layout, self._lease, self.sharing.key(self.early[step.number]))
                self.borrowed |= {step.number} if outcome is not None else set()
            if outcome is not None:
                found[step.number] = outcome
        return found

    def _borrow_all(self, found: dict[int, Outcome]) -> None:
        """Add to what was found what other machines have done, as far as it is needed."""
        steps, target = self.graph.steps, self.graph.result.tree
        starts = {step.number for step in steps if isinstance(step.work, Start)}
        refused: set[int] = set()
        while self.sharing.sources and needed(steps, target, found) - found.keys() - starts:
            offered = {
                step.number: self.early[step.number]
                for step in steps
                if step.number not in found.keys() | starts | self._redone | refused
                and self.sharing.offers(self.early[step.number])
            }
            wanted = sorted(needed(steps, target, found.keys() | offered.keys()) & offered.keys())
            if not wanted:
                return
            brought = self.sharing.bring([offered[number] for number in wanted])
            for number in wanted:
                if (outcome := brought.get(offered[number])) is None:
                    refused.add(number)
                else:
                    found[number] = outcome
                    self.borrowed.add(number)

    @property
    def sharing(self) -> Sharing:
        """With builds on other machines."""
        if self._sharing is None:
            self._sharing = Sharing(self.making, self.wanted.cache_from, self.tell)
        return self._sharing

    @property
    def _lease(self) -> Lease:
        return self.making.lease

    def _start_identity(self, step: Step) -> str:
        work = step.work
        assert isinstance(work, Start)
        if work.image:
            return self.bases[work.image].record.digest
        if work.context in self.images:
            return self.images[work.context].record.digest
        if work.context:
            return self._digest_outside(FromContext(work.context, (".",)))
        return "scratch"

    def _digest_outside(self, taken: Outside) -> str:
        step = self._step_of(taken)
        with self._told(step):
            if isinstance(taken, FromRemote):
                return self._fetch(taken).digest
            if taken.context in self.images:
                return f"{self.images[taken.context].record.digest} {json.dumps([taken.paths, taken.exclude])}"
            return self.contexts[taken.context].digest(taken.paths, taken.exclude, parents=_keeps_parents(step))

    def _step_of(self, taken: Input) -> Step:
        for step in self.graph.steps:
            if any(each is taken for each in step.inputs):
                return step
        return self.graph.steps[0]

    def _fetch(self, taken: FromRemote) -> Fetched:
        found = self.fetched.get(taken)
        if found is None:
            found = self.fetched[taken] = self.fetching.fetch(taken)
        return found

    # doing

    def _do_all(self, to_do: list[int]) -> None:
        running: dict[Future[Outcome], int] = {}
        failed: BaseException | None = None
        with ThreadPoolExecutor(PARALLEL) as pool:
            try:
                while True:
                    if failed is None:
                        for number in self._can_begin(to_do, set(running.values())):
                            running[pool.submit(self._do, self.graph.steps[number])] = number
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        number = running.pop(future)
                        error = future.exception()
                        if error is None:
                            self.outcomes[number] = future.result()
                        elif failed is None:
                            failed = error
                            self._stop()
            except BaseException:  # an interrupt: the pool would wait for what runs
                self._stop()
                raise
        if failed is not None:
            raise failed

    def _stop(self) -> None:
        """End what runs: its build will not be."""
        from runtime.process import client

        with self._rooms_lock:
            self._is_stopping = True
            names = list(self._rooms)
        for name in names:
            with suppress(ProcessFailed):
                client.kill(self.making.layout, name, signal.SIGKILL, whole_tree=True)

    @contextmanager
    def room(self) -> Iterator[Room]:
        """A bundle that `_stop` knows of. Raises Refused once the build has ended."""
        from reconciler.build import run

        with run.room(self.making.layout) as room:
            with self._rooms_lock:
                if self._is_stopping:
                    raise Refused("stopped, since the build has failed", step="run")
                self._rooms.add(room.name)
            try:
                yield room
            finally:
                with self._rooms_lock:
                    self._rooms.discard(room.name)

    def _can_begin(self, to_do: list[int], running: set[int]) -> Iterator[int]:
        steps = self.graph.steps
        for number in ready(steps, to_do, self.outcomes.keys(), running):
            if all(self._is_whole(need) for need in steps[number].needs):
                yield number

    def _is_whole(self, number: int) -> bool:
        """Whether all layers of the step's tree are made: those below a linked copy, too."""
        step: Step | None = self.graph.steps[number]
        while step is not None:
            if not isinstance(step.work, Start) and step.number not in self.outcomes:
                return False
            step = None if step.on_top is None else self.graph.steps[step.on_top]
        return True

    def _do(self, step: Step) -> Outcome:
        began = time.monotonic()
        self.tell(Told("begun", step.number, step.title, place=step.place))
        try:
            with self._told(step), ExitStack() as held:
                outcome, was_known = self._outcome(step, held)
        except BaseException as error:
            self.tell(Told("failed", step.number, str(error), time.monotonic() - began, step.place))
            raise
        what = "cached" if was_known else "done"
        self.worked += not was_known
        self.tell(Told(what, step.number, step.title, time.monotonic() - began, step.place))
        return outcome

    def _outcome(self, step: Step, held: ExitStack) -> tuple[Outcome, bool]:
        """The late key first: sources made anew that came out the same make the same layer."""
        layout = self.making.layout
        sources = [self._source(step, each, held) for each in step.inputs]
        contents = [
            source.digest if isinstance(source, Fetched) else digest(source[0].listing, source[1]) for source in sources
        ]
        below = () if step.parent is None else self.layers(step.parent)
        late = cache_key(step, f"tree {hashlib.sha256(json.dumps(below).encode()).hexdigest()}", contents)
        outcome = recall(layout, self._lease, late) if step.is_cached else None
        was_known = outcome is not None
        if outcome is None:
            outcome = self._make(step, sources, held)
            remember(layout, late, outcome)
        early = self.early[step.number]
        if step.needs & self.borrowed:
            self.borrowed.add(step.number)
            early = self.sharing.key(early)
        remember(layout, early, outcome)
        return outcome, was_known

    def _make(self, step: Step, sources: list[Source], held: ExitStack) -> Outcome:
        match step.work:
            case Transfer():
                return self._transfer(step, step.work, sources, held)
            case Execute():
                from reconciler.build.execution import execute  # all of what makes containers: most builds need none

                return execute(self, step, step.work, sources, held)
            case MakeDirectory():
                return self._make_directory(step, step.work, held)
            case _:
                raise TypeError(f"{step.title} cannot be done")

    # trees

    def layers(self, number: int) -> tuple[str, ...]:
        """The diffIDs of a step's tree, lowest first."""
        step = self.graph.steps[number]
        if isinstance(step.work, Start):
            return self._start_layers(step, step.work)
        below = () if step.on_top is None else self.layers(step.on_top)
        layer = self.outcomes[number].layer
        return (*below, layer) if layer else below

    def _start_layers(self, step: Step, work: Start) -> tuple[str, ...]:
        if work.image:
            return self.bases[work.image].layers
        if work.context in self.images:
            return self.images[work.context].layers
        if not work.context:
            return ()
        with self._locks[step.number]:
            if step.number not in self._starts:
                context = self.contexts[work.context]
                self._starts[step.number] = (self.layer_of(context, context.take((".",), (), parents=False)),)
            return self._starts[step.number]

    def directories(self, number: int) -> tuple[Path, ...]:
        """The trees that overlay joins, highest first."""
        return tree_directories(self.making, self.layers(number))

    def _open(self, directories: tuple[Path, ...], held: ExitStack) -> int:
        return held.enter_context(opened(directories, empty_tree(self.making.layout)))

    def _source(self, step: Step, taken: Input, held: ExitStack) -> Source:
        """What an input takes, digested."""
        parents = _keeps_parents(step)
        if isinstance(taken, FromRemote):
            return self._fetch(taken)
        if isinstance(taken, FromContext) and taken.context not in self.images:
            context = self.contexts[taken.context]
            return context, context.take(taken.paths, taken.exclude, parents=parents)
        if isinstance(taken, FromContext):
            directories = tree_directories(self.making, self.images[taken.context].layers)
        else:
            directories = self.directories(taken.step)
        tree = scan_for(self._open(directories, held), taken.paths, whole=parents)
        selection = select(tree.listing, taken.paths, taken.exclude, parents=parents)
        with_digests(tree, selection)
        return tree, selection

    # layers

    def now(self) -> float:
        """The time of what is made, in seconds since the epoch."""
        epoch = self.wanted.epoch
        return time.time() if epoch is None else float(epoch)

    def _transfer(
        self,
        step: Step,
        work: Transfer,
        sources: list[Source],
        held: ExitStack,
    ) -> Outcome:
        below = () if step.parent is None else self.directories(step.parent)
        owner = _owner(below, work.chown)
        now = self.now()
        tree = None if step.parent is None else self._open(below, held)
        plan = Plan(tree, owner, work.chmod, self.wanted.epoch, int(now))
        for source in sources:
            if isinstance(source, Fetched):
                source.add_to(plan, work, self.fetching)
            elif work.unpack:
                unpack(plan, source[0], source[1], work.destination, self.fetching.spool, held)
            else:
                plan.copy(source[0], source[1], work.destination)
        for file in work.files:
            plan.write_inline(file, work.destination)
        return Outcome(self.layer(plan.write), now) if plan.parts else Outcome("", now)

    def layer_of(self, tree: HasFiles, selection: tuple[Taken, ...]) -> str:
        """A layer of just these files: what a mount shows of a context."""
        plan = Plan(None, newest=self.wanted.epoch)
        plan.copy(tree, selection, "/")
        return self.layer(plan.write)

    def layer(self, write: Callable[[Callable[[bytes], None]], None]) -> str:
        """Written as a blob, unpacked; the diffID."""
        with self.making.store.write() as writer:
            sink = Sink(writer, lambda _: None)
            write(sink.write)
            blob = sink.commit()
        self.making.ensure_layers([self.making.layer(blob, blob)])
        return blob

    def _make_directory(self, step: Step, work: MakeDirectory, held: ExitStack) -> Outcome:
        now = self.now()
        assert step.parent is not None
        below = self.directories(step.parent)
        plan = Plan(self._open(below, held), None, "", self.wanted.epoch, int(now))
        where, kind = plan.place(work.path)
        if kind == "other":
            raise Refused("is no directory", path=work.path, step="WORKDIR")
        if kind == "directory":
            return Outcome("", now)
        user = resolve_user(below, work.user)
        plan.make_parents(where)
        plan.directory(where, owner=Owner(user.uid, user.gid))
        return Outcome(self.layer(plan.write), now)

    def _told(self, step: Step) -> At:
        return At(self.dockerfile, step)


def _keeps_parents(step: Step) -> bool:
    return isinstance(step.work, Transfer) and step.work.parents


def _owner(below: tuple[Path, ...], chown: str) -> Owner | None:
    """`--chown`: a number alone is the group's, too. None where it is not given: owners stay as they are."""
    if not chown:
        return None
    user = resolve_user(below, chown)
    if ":" not in chown and chown.isdigit():
        return Owner(user.uid, user.uid)
    return Owner(user.uid, user.gid)
