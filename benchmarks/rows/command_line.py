"""How long the command itself takes, from its start to its end: `--help`, `version`, and a `diff` of five objects.

Against the interpreter alone, `python3 -c pass` of the same Python. Compiled modules are kept, as everywhere but on
test machines.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.commands import environment, trimtab
from benchmarks.engine import container, network, own_engine
from benchmarks.ground import Ground
from benchmarks.records import Row, Target
from benchmarks.timing import milliseconds, take_turns

BARE, HELP, VERSION, DIFF = "python3 -c pass", "trimtab --help", "trimtab version", "trimtab diff"
FACTOR, EXTRA_MS = 1.5, 40.0
DIFF_MS = 400.0


def measure(ground: Ground, rounds: int) -> list[Row]:
    with own_engine(ground) as ours:
        text = five_objects()
        file = ground.live / "five.yaml"
        file.write_text(text)
        ours.apply(text, "five")
        series = take_turns(
            {
                BARE: lambda: milliseconds(bare),
                HELP: lambda: milliseconds(lambda: trimtab(ours.layout, "--help")),
                VERSION: lambda: milliseconds(lambda: trimtab(ours.layout, "version")),
                DIFF: lambda: milliseconds(lambda: trimtab(ours.layout, "diff", "--set", "five", str(file))),
            },
            4 * rounds,
        )
    targets = (
        Target(FACTOR, BARE, tool=HELP, extra=EXTRA_MS),
        Target(FACTOR, BARE, tool=VERSION, extra=EXTRA_MS),
        Target(DIFF_MS, tool=DIFF),
    )
    return [Row("commands", "The command itself; diff of 5 converged objects", "ms", tuple(series), targets)]


def bare() -> None:
    subprocess.run([sys.executable, "-c", "pass"], env=environment(), stdin=subprocess.DEVNULL, check=True)


def five_objects() -> str:
    objects = [
        network("five"),
        *(container(f"five{n}", ["sleep", "1000000"], "networks: [five]", "init: true") for n in (1, 2)),
    ]
    objects.append("---\napiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: five}\nspec: {}\n")
    objects.append("---\napiVersion: trimtab/v1\nkind: Config\nmetadata: {name: five}\nspec: {content: five}\n")
    return "".join(objects)
