"""A thousand containers, each on a network: brought up, kept by the loop, taken down; per container, beside a hundred.

Memory is PSS (proc(5)) of the monitors, and what the process with the loop has grown by; the containers' own is theirs.
"""

from __future__ import annotations

import gc
import os
import signal
import time

from benchmarks.engine import Ours, own_engine
from benchmarks.ground import Ground
from benchmarks.looped import looped
from benchmarks.records import Row, Series, Target
from benchmarks.rows.repairs import many
from benchmarks.timing import milliseconds, tell
from benchmarks.tree_memory import pss
from runtime.process import client
from runtime.process.records import ProcessRecord

FEW, MANY = 100, 1000
LOST = 10
"""Containers that are killed, and come back."""
GIVE_UP_SECONDS = 60.0


def measure(ground: Ground, rounds: int) -> list[Row]:
    found: dict[int, tuple[float, float, float]] = {}
    with own_engine(ground) as ours:
        # what the first containers of an engine alone pay for
        up_and_down(ours, LOST)
        for number in (FEW, MANY):
            tell(f"  {number} containers")
            found[number] = up_and_down(ours, number)
    titles = (("brought up", "ms", 1.5), ("taken down", "ms", 1.5), ("memory of monitor and loop", "MB", 1.25))
    return [
        Row(
            "thousand",
            f"Of {MANY} containers with networks, each: {title}",
            unit,
            tuple(Series(f"of {number}", (values[column],)) for number, values in found.items()),
            (Target(limit, f"of {FEW}", tool=f"of {MANY}"),),
        )
        for column, (title, unit, limit) in enumerate(titles)
    ]


def up_and_down(ours: Ours, number: int) -> tuple[float, float, float]:
    """Milliseconds up and down, and megabytes, each for one container. Raises RuntimeError where one is not kept."""
    text = many(number)
    up = milliseconds(lambda: ours.apply(text, "many"))
    gc.collect()
    own = pss(os.getpid())
    with looped(ours.layout):
        before = [process(ours, count) for count in range(number)]
        gc.collect()
        memory = sum(pss(each.monitor_pid) for each in before) + max(0.0, pss(os.getpid()) - own)
        kill(ours, before[:LOST])
        if [process(ours, count).pid for count in range(LOST, number)] != [each.pid for each in before[LOST:]]:
            raise RuntimeError("a container was started again that nobody had killed")
    down = milliseconds(lambda: ours.delete("many"))
    return up / number, down / number, memory / number


def process(ours: Ours, count: int) -> ProcessRecord:
    found = client.read_process(ours.layout, f"many{count}")
    if found is None:
        raise RuntimeError(f"there is no many{count}")
    return found


def kill(ours: Ours, victims: list[ProcessRecord]) -> None:
    """Until the loop has started all of them again."""
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
    end = time.monotonic() + GIVE_UP_SECONDS
    for count, victim in enumerate(victims):
        while not is_new(ours, count, victim):
            if time.monotonic() > end:
                raise RuntimeError(f"many{count} did not come back")
            time.sleep(0.01)


def is_new(ours: Ours, count: int, old: ProcessRecord) -> bool:
    """Whether another process of it runs; between the two there may be none."""
    now = client.read_process(ours.layout, f"many{count}")
    return now is not None and now.pid != old.pid and now.phase.value == "running"
