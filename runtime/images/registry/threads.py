"""Blocking calls in threads, for coroutines that must not clean up while a thread still works.

Called by `download` and `pull`. When one of these is left, even cancelled, its calls have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, Future, wait
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
HandOver = Callable[..., Coroutine[Any, Any, None]]


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


async def in_thread(pool: Executor, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` returns."""
    return await ended(pool.submit(call, *args, **kwargs))


async def ended(future: Future[T]) -> T:
    """What the thread returned. Cancelled, it waits for the thread all the same: that still holds the file."""
    try:
        return await asyncio.shield(asyncio.wrap_future(future))
    except asyncio.CancelledError:
        wait([future])
        raise


@asynccontextmanager
async def opened_in_thread(pool: Executor, make: Callable[P, C], *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[C]:
    """What `make` returns, closed at the end."""
    future = pool.submit(make, *args, **kwargs)
    try:
        made = await ended(future)
    except asyncio.CancelledError:
        if future.exception() is None:
            future.result().close()
        raise
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def background(pool: Executor) -> AsyncIterator[HandOver]:
    """Gives `hand_over(call, *args)`: begins the call once the one before has ended, and raises what that raised."""
    running: Future[None] | None = None

    async def hand_over(call: Callable[..., None], *args: object) -> None:
        nonlocal running
        if running is not None:
            await asyncio.wrap_future(running)
        running = pool.submit(call, *args)

    try:
        yield hand_over
        if running is not None:
            await asyncio.wrap_future(running)
    finally:
        if running is not None:
            wait([running])
