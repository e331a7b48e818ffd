"""Take turns: each round every tool does the work once, so that a busy moment of the machine meets all alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from benchmarks.records import Series

SETTLE_SECONDS = 0.02
"""Between two samples, for what the last one left the kernel to do."""

Sample = Callable[[], float]
"""Does the work once; what it measured, in the row's unit."""


def take_turns(samples: Mapping[str, Sample], rounds: int, settle: float = SETTLE_SECONDS) -> list[Series]:
    """A series for each tool. One more round comes first, and does not count."""
    taken: dict[str, list[float]] = {tool: [] for tool in samples}
    for number in range(rounds + 1):
        for tool, sample in samples.items():
            time.sleep(settle)
            value = sample()
            if number:
                taken[tool].append(value)
    return [Series(tool, tuple(values)) for tool, values in taken.items()]


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def tell(text: str) -> None:
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)
