"""The page for readers, `docs/benchmarks.md`: what was measured, where, what came out, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.records import OURS, Row, Series
from benchmarks.reports.numbers import bound, quantity, ratio, reached, verdict, whose

HEAD = """# Benchmarks

Written by `make bench`; do not edit. One run compares, doing the same work in turns, trimtab with the peers that this
machine has and with a floor: the smallest C program that makes such a container (`benchmarks/floor.c`). Values are
medians. **Only the ratios of one run count**: machines differ, and one machine differs from hour to hour.

![Chart](benchmarks.svg)
"""
HOW = """## How it is measured

- `make bench` (root) measures against what is installed; `make bench-peers` installs the peers, Debian's packages
  `docker.io`, `docker-compose`, `podman`, `runc`, `skopeo` and `docker-registry`. A peer that is missing is said to
  be. Rows by name: `python -m benchmarks --only container --only network --rounds 10`.
- Everything happens in a network and a mount namespace of the run's own. All tools keep their data on one fresh ext4
  on a loop device, and their live state on a tmpfs. dockerd and containerd are started for the run, with their
  defaults.
- trimtab is called through its own API in a process that has it loaded, as its daemon has; rows that say *command* or
  *cold process* start `trimtab` as a user does. Peers are called through their commands, which is how they are used.
- *container*: on each side a bundle stands ready, and what it leaves behind is removed outside the measured time.
  trimtab's and the second runc's containers have a user namespace of their own; the floor has none, and neither limits,
  seccomp, log nor exit record.
- *network*: for trimtab once the calls alone, of a bundle that stands ready; and once two whole passes, each with
  manifest, observation, plan and durable records: one makes the container, one deletes it. `docker run --rm` is one
  command.
- *apply*, *delete*: the containers end when asked to. Compose gets the same services in one file.
- *logs*: rotation at 20 MB and three files everywhere; the last line must have arrived.
- *memory*: proportional set size (PSS) while the containers run.
"""


def page(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    parts = [HEAD, "## Targets", _targets(rows), "## Values", *map(_row, rows), HOW, "## Machine of this run"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in machine.items()))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _targets(rows: Sequence[Row]) -> str:
    lines = ["| row | what | target | reached | |", "|---|---|---|---|---|"]
    for row in rows:
        for target in row.targets:
            wanted = f"{whose(row, target)}{bound(row, target)}"
            lines.append(f"| {row.name} | {row.title} | {wanted} | {reached(row, target)} | {verdict(row, target)} |")
    return "\n".join(lines)


def _row(row: Row) -> str:
    head = f"### {row.name}: {row.title}"
    lines = ["| | median | fastest | slowest | rounds | trimtab is |", "|---|---|---|---|---|---|"]
    lines += [f"| {series.tool} | {' | '.join(_cells(row, series))} |" for series in row.series]
    return "\n\n".join(part for part in (head, "\n".join(lines), row.note) if part)


def _cells(row: Row, series: Series) -> Iterator[str]:
    if series.median is None:
        yield from (series.why_not, "", "", "", "")
        return
    yield quantity(series.median, row.unit)
    yield quantity(min(series.values), row.unit)
    yield quantity(max(series.values), row.unit)
    yield str(len(series.values))
    yield "" if series.tool == OURS else ratio(row.ratio(OURS, series.tool))
