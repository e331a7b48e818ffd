"""`python -m benchmarks`: measure, print the table, write JSON, chart and page. Needs root.

Exit 0 also when a target is missed or a peer is not there: the table says so. `--check` makes a missed target exit 1.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks.records import Row, missed
from benchmarks.reports.chart import chart
from benchmarks.reports.document import read_document, write_document
from benchmarks.reports.machine import describe_machine
from benchmarks.reports.page import page
from benchmarks.reports.table import table
from benchmarks.timing import tell

ROWS = {
    "container": "container_alone",
    "network": "container_network",
    "fleet": "fleet",
    "converged": "converged",
    "memory": "monitor_memory",
    "pull": "pull_image",
    "push": "push_image",
    "build": "build_image",
    "debian": "build_debian",
    "logs": "log_output",
    "commands": "command_line",
    "repairs": "repairs",
    "edits": "edits",
    "thousand": "thousand",
    "daemon": "daemon_commands",
}
"""What `--only` takes -> the module below `benchmarks.rows` that measures it (`fleet`: the rows apply and delete)."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=sorted(ROWS), help="measure only this; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="of the slow rows; fast ones take several times as many")
    parser.add_argument("--json", type=Path, help="write every value to this file")
    parser.add_argument("--svg", type=Path, help="write the chart to this file")
    parser.add_argument("--markdown", type=Path, help="write the page to this file")
    parser.add_argument("--read", type=Path, help="measure nothing: report what an earlier run wrote with --json")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    return parser.parse_args()


def main() -> int:
    told = arguments()
    if told.read:
        rows, machine = read_document(told.read.read_text())
    elif os.geteuid() != 0:
        tell("the benchmarks make containers: run them as root")
        return 2
    else:
        machine = describe_machine()
        rows = measure(told.only or list(ROWS), told.rounds)
    print(table(rows))
    for file, text in ((told.json, write_document), (told.svg, chart), (told.markdown, page)):
        if file is not None:
            file.write_text(text(rows, machine))
    return 1 if told.check and missed(rows) else 0


def measure(names: Sequence[str], rounds: int) -> list[Row]:
    """Every row asked for. One that cannot be measured says why, and the others are."""
    from benchmarks.ground import own_ground

    signal.signal(signal.SIGTERM, _leave)
    rows: list[Row] = []
    with own_ground() as ground:
        for name in names:
            tell(f"{name} ...")
            module = importlib.import_module(f"benchmarks.rows.{ROWS[name]}")
            try:
                rows += module.measure(ground, rounds)
            except (RuntimeError, OSError, AssertionError) as error:
                tell(f"  {name} could not be measured: {error}")
    return rows


def _leave(number: int, frame: FrameType | None) -> None:
    """End by way of every `finally`."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
