"""What may be set of the loop. Times in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Tell = Callable[[str, Mapping[str, Any]], None]
"""Called with an event's name and its values, in the loop's own thread."""


def silent(event: str, values: Mapping[str, Any]) -> None:
    """For callers that want to hear nothing."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """`resync`: between two looks at everything. `parallel`: actions of a pass at once; `passes`: at once. `window`:
    when `self_heal: window` lets drift be repaired, as `Mon-Fri 02:00-04:30`. `store_poll`: between two looks whether
    somebody else has applied."""

    resync: float = 60.0
    parallel: int = 4
    passes: int = 4
    self_heal: str = "on"
    window: str = ""
    rollouts: str = "on"
    store_poll: float = 0.5
    probes: int = 16
    """Health checks at once."""


class Worker(Protocol):
    """Runs synchronous calls in threads."""

    async def do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
