"""A loop beside a machine under test: run in a thread of its own, watched from the test's."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

from reconciler.daemon.worker import Worker
from reconciler.engine import open_engine
from reconciler.loop.loop import Loop
from reconciler.loop.settings import LoopSettings
from runtime.kernel.namespaces import CLONE_NEWNET, setns
from runtime.layout import Layout


class Driven:
    """What the test may ask of the running loop."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        self.loop: Loop | None = None
        self.asyncio: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[Any] | None = None
        self.failure: BaseException | None = None

    def tell(self, event: str, values: Mapping[str, Any]) -> None:
        self.told.append((event, {**values, "at": time.monotonic()}))

    def actions(self) -> list[str]:
        return [str(values["action"]) for event, values in self.told if event == "action"]

    def settle(self, seconds: float = 20.0) -> None:
        """Until the loop has nothing to do now."""
        assert self.loop is not None and self.asyncio is not None
        asyncio.run_coroutine_threadsafe(self.loop.settled(), self.asyncio).result(seconds)
        assert self.failure is None


@contextmanager
def driven(layout: Layout, settings: LoopSettings | None = None) -> Iterator[Driven]:
    """A loop that runs until the end of the block, in the caller's network namespace; settled at first."""
    made = Driven()
    ready = threading.Event()
    network = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    thread = threading.Thread(target=_run, args=(made, layout, settings or LoopSettings(), network, ready))
    thread.start()
    try:
        assert ready.wait(10)
        made.settle()
        yield made
    except CancelledError as error:
        raise (made.failure or error) from error
    finally:
        running = made.asyncio
        if running is not None and made.task is not None and not running.is_closed():
            with suppress(RuntimeError):
                running.call_soon_threadsafe(made.task.cancel)
        thread.join(20)
        os.close(network)
    if made.failure is not None:
        raise made.failure


def _run(made: Driven, layout: Layout, settings: LoopSettings, network: int, ready: threading.Event) -> None:
    # threads of the worker are made by this one, and are in its namespace
    setns(network, CLONE_NEWNET)
    try:
        with open_engine(layout) as engine:
            asyncio.run(_drive(made, Worker(), engine, settings, ready))
    except asyncio.CancelledError:
        pass
    except BaseException as error:
        made.failure = error
    finally:
        ready.set()


async def _drive(made: Driven, worker: Worker, engine: Any, settings: LoopSettings, ready: threading.Event) -> None:
    made.asyncio = asyncio.get_running_loop()
    made.task = asyncio.current_task()
    made.loop = Loop(engine, worker, settings, made.tell)
    ready.set()
    try:
        await made.loop.run()
    finally:
        worker.close()
