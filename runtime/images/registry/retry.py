"""When to try again, and after how long. Called around every request and every layer.

Only `Transient` is tried again; every other exception passes. Knows nothing of HTTP but the form of `Retry-After`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from runtime.images.registry.settings import RegistrySettings
from schemas.errors import RetryLater

T = TypeVar("T")


class Transient(Exception):
    """One attempt failed as the next may not. Holds what to raise when no attempt is left."""

    def __init__(self, failure: RetryLater, *, pause: float | None = None, gained: bool = False) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.pause = pause
        """Seconds the server asked to wait."""
        self.gained = gained
        """The attempt moved the work on far enough not to be counted."""


async def persist(attempt: Callable[[], Awaitable[T]], settings: RegistrySettings) -> T:
    """Await `attempt()` until it gives a result, `settings.attempts` times. Raises the last RetryLater."""
    spent = 0
    while True:
        try:
            return await attempt()
        except Transient as failed:
            spent = 1 if failed.gained else spent + 1
            pause = max(failed.pause or 0.0, jittered(spent, settings, random.random()))
            if spent >= settings.attempts or (failed.pause or 0.0) > settings.retry_after_cap:
                raise failed.failure from failed.__cause__
        await asyncio.sleep(pause)


def jittered(spent: int, settings: RegistrySettings, draw: float) -> float:
    """Seconds to wait after the `spent`-th failure: doubling, capped, spread by `draw` in [0, 1)."""
    ceiling = min(settings.backoff_cap, settings.backoff * 2.0 ** min(spent - 1, 20))
    return ceiling * (0.5 + draw / 2)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, a number or a date (RFC 9110 section 10.2.3); None: none."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds())
