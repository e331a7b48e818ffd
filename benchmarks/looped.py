"""The loop beside a run: in a thread of its own, in the run's namespaces, Python set as the daemon sets it."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from reconciler.daemon.tuning import tune
from reconciler.daemon.worker import Worker
from reconciler.engine import open_engine
from reconciler.loop.loop import Loop
from reconciler.loop.settings import LoopSettings
from runtime.layout import Layout

BEGIN_SECONDS = 120.0


class Looped:
    """A loop that runs. `settle` waits until it has nothing to do."""

    def __init__(self, layout: Layout, settings: LoopSettings) -> None:
        self._layout = layout
        self._settings = settings
        self._begun = threading.Event()
        self.thread = threading.Thread(target=self._run, name="loop")
        self.thread.start()
        if not self._begun.wait(BEGIN_SECONDS):
            raise RuntimeError("the loop did not begin")

    def _run(self) -> None:
        with open_engine(self._layout) as engine, suppress(asyncio.CancelledError):
            worker = Worker()
            self.loop = Loop(engine, worker, self._settings)
            try:
                asyncio.run(self._hold())
            finally:
                worker.close()
                self._begun.set()

    async def _hold(self) -> None:
        self.events = asyncio.get_running_loop()
        self.task = asyncio.ensure_future(self.loop.run())
        self._begun.set()
        await self.task

    def settle(self) -> None:
        asyncio.run_coroutine_threadsafe(self.loop.settled(), self.events).result(BEGIN_SECONDS)

    def end(self) -> None:
        with suppress(RuntimeError):
            self.events.call_soon_threadsafe(self.task.cancel)
        self.thread.join()


@contextmanager
def looped(layout: Layout, settings: LoopSettings | None = None) -> Iterator[Looped]:
    """A loop that has looked at everything once."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    tune()
    made = Looped(layout, settings or LoopSettings())
    try:
        made.settle()
        yield made
    finally:
        made.end()
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)
