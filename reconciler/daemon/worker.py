"""The one place that calls the runtime from the daemon: in threads, one writer at a time.

The runtime is synchronous because the kernel is. Whoever writes holds the turn here, and the engine's lock
(`reconciler.lock`) while it acts, so that commands without the daemon and the daemon exclude each other.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 64
"""For all work at once that is done in a moment; what lasts has threads of its own."""
VISITORS = 48
"""Of them at most for clients that read, so that the loop never waits for a thread (`reconciler.api.shares`)."""


class Worker:
    """Threads for synchronous calls. Made and used in one event loop."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker")
        self._turn = asyncio.Lock()
        self._stopping = False

    async def do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call` in a thread, in this context. For what changes nothing on the machine."""
        inside = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(inside.run, partial(call, *args, **kwargs)))

    async def write(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call` in a thread, alone among writers. A cancelled one keeps its turn until the thread is done."""
        async with self._turn:
            work = asyncio.ensure_future(self.do(call, *args, **kwargs))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait({work})
                raise

    async def last(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call` in a thread that is made for it and ends with it: for what may last, and must keep nobody waiting."""
        inside, loop = contextvars.copy_context(), asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(outcome: Callable[[], object]) -> None:
            if not done.cancelled():
                outcome()

        def work() -> None:
            try:
                result = inside.run(partial(call, *args, **kwargs))
            except BaseException as error:
                outcome = partial(done.set_exception, error)
            else:
                outcome = partial(done.set_result, result)
            with suppress(RuntimeError):  # the event loop has ended, and the process is about to
                loop.call_soon_threadsafe(tell, outcome)

        threading.Thread(target=work, name="lasting", daemon=True).start()
        return await done

    @property
    def is_stopping(self) -> bool:
        """Whether no more actions may begin. Asked from any thread."""
        return self._stopping

    @property
    def is_writing(self) -> bool:
        return self._turn.locked()

    def stop(self) -> None:
        """Take no more clients; writers finish the actions under way."""
        self._stopping = True

    async def settle(self, seconds: float) -> bool:
        """Wait until the writer has ended; whether it has."""
        try:
            async with asyncio.timeout(seconds), self._turn:
                return True
        except TimeoutError:
            return False

    def close(self) -> None:
        """Wait for no thread: followers end with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
