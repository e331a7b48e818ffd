"""Commands through a daemon: a `diff` of five converged objects, an `apply` of thirty containers without a change.

From the command's start to its end, against the interpreter alone; and the same commands without the daemon.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.commands import PROGRAM, environment, trimtab
from benchmarks.engine import Ours, container, own_engine
from benchmarks.ground import Ground
from benchmarks.records import Row, Target
from benchmarks.rows.command_line import BARE, bare, five_objects
from benchmarks.timing import Sample, milliseconds, take_turns
from runtime.layout import Layout

DIFF, APPLY = "diff, daemon", "apply, daemon"
DIFF_ALONE, APPLY_ALONE = "diff, no daemon", "apply, no daemon"
TARGET_MS = 80.0
FACTOR = 10.0
"""80 ms where a bare interpreter takes 8: so that a busy machine is no excuse, and no help."""
CONTAINERS = 30
START_SECONDS = 30.0


def measure(ground: Ground, rounds: int) -> list[Row]:
    with own_engine(ground) as ours:
        samples = {DIFF: _five(ours, ground), APPLY: _thirty(ours, ground)}
        alone = {DIFF_ALONE: _five(ours, ground, "none"), APPLY_ALONE: _thirty(ours, ground, "none")}
        with daemon(ours.layout):
            warm = take_turns({BARE: lambda: milliseconds(bare), **samples}, 4 * rounds)
            cold = take_turns(alone, max(1, rounds // 2))
    return [
        Row(
            "daemon diff",
            "diff of 5 converged objects through a daemon",
            "ms",
            tuple(each for each in (*warm, *cold) if each.tool in (BARE, DIFF, DIFF_ALONE)),
            (Target(TARGET_MS, tool=DIFF), Target(FACTOR, BARE, tool=DIFF)),
        ),
        Row(
            "daemon apply",
            f"apply of {CONTAINERS} containers without a change through a daemon",
            "ms",
            tuple(each for each in (*warm, *cold) if each.tool in (BARE, APPLY, APPLY_ALONE)),
            (Target(TARGET_MS, tool=APPLY), Target(FACTOR, BARE, tool=APPLY)),
            "`docker compose up -d` (v2) takes 40 ms for the same where the interpreter takes 8.",
        ),
    ]


def _five(ours: Ours, ground: Ground, *host: str) -> Sample:
    return _sample(ours, ground, "five", five_objects(), "diff", host)


def _thirty(ours: Ours, ground: Ground, *host: str) -> Sample:
    text = "".join(container(f"thirty{n}", ["sleep", "1000000"], "init: true") for n in range(CONTAINERS))
    return _sample(ours, ground, "thirty", text, "apply", host)


def _sample(ours: Ours, ground: Ground, name: str, text: str, verb: str, host: tuple[str, ...]) -> Sample:
    file = ground.live / f"{name}.yaml"
    file.write_text(text)
    ours.apply(text, name)
    words = [*(("--host", *host) if host else ()), verb, "--set", name, str(file)]
    return lambda: milliseconds(lambda: trimtab(ours.layout, *words))


@contextmanager
def daemon(layout: Layout, *options: str) -> Iterator[None]:
    """A daemon that answers; ended by its pid."""
    command = [str(PROGRAM), "--root", str(layout.root), "--run", str(layout.run), "daemon", "--log-level", "error"]
    process = subprocess.Popen([*command, *options], env=environment(), stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not layout.api_socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the daemon does not start")
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)
