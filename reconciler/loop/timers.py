"""Keeps what is done again and again going: a fault nobody foresaw is told, and after a pause it begins anew.

Called by the loop for its timers, and by whoever has some of their own. The pause grows with each fault in a row. What
a timer does is no business of this module.
"""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections.abc import Awaitable, Callable

from reconciler.backoff import CAP, delay
from reconciler.loop.settings import Tell


async def kept(name: str, work: Callable[[], Awaitable[None]], tell: Tell) -> None:
    """Until the work ends by itself, or this is cancelled. `work` is called again after each fault."""
    failures = 0
    while True:
        begun = time.monotonic()
        try:
            await work()
        except Exception as error:
            failures = failures + 1 if time.monotonic() - begun < CAP else 1
            pause = delay(failures, random.random())
            tell_fault(name, error, tell, pause)
            await asyncio.sleep(pause)
        else:
            return


def tell_fault(name: str, error: Exception, tell: Tell, pause: float) -> None:
    """`timer.failed`: which, why, where, and after how many seconds it goes on."""
    told = "".join(traceback.format_exception(error))
    tell("timer.failed", {"timer": name, "error": repr(error), "seconds": round(pause, 3), "traceback": told})
