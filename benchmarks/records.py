"""What a benchmark found: series of values, targets they are held against, rows of the table. Pure values.

A ratio is of medians of one run: machines differ, and one machine differs from hour to hour.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

OURS = "trimtab"
ABSENT = "not installed"


class Verdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one tool, in the row's unit; none where `why_not` says why."""

    tool: str
    values: tuple[float, ...] = ()
    why_not: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None


@dataclass(frozen=True, slots=True)
class Target:
    """`tool` must reach at most `limit` times what `against` takes, plus `extra` units.

    Without `against`, `limit` is in the row's unit; with `at_least` it is a lower limit.
    """

    limit: float
    against: str = ""
    tool: str = OURS
    extra: float = 0.0
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the same work done by each tool. `name` is what `--only` takes."""

    name: str
    title: str
    unit: str
    series: tuple[Series, ...]
    targets: tuple[Target, ...] = ()
    note: str = ""

    def median(self, tool: str) -> float | None:
        found = [series.median for series in self.series if series.tool == tool]
        return found[0] if found else None

    def ratio(self, tool: str, against: str) -> float | None:
        """How many times `against` the median of `tool` is."""
        ours, theirs = self.median(tool), self.median(against)
        return ours / theirs if ours is not None and theirs else None

    def bound(self, target: Target) -> float | None:
        """The target in the row's unit; None where its measure is missing."""
        if not target.against:
            return target.limit
        base = self.median(target.against)
        return None if base is None else target.limit * base + target.extra

    def verdict(self, target: Target) -> Verdict:
        value, bound = self.median(target.tool), self.bound(target)
        if value is None or bound is None:
            return Verdict.UNKNOWN
        met = value >= bound if target.at_least else value <= bound
        return Verdict.MET if met else Verdict.MISSED


def absent(tools: Iterable[tuple[str, str]]) -> list[Series]:
    """Series for (tool, why it was not measured)."""
    return [Series(tool, why_not=why) for tool, why in tools]


def missed(rows: Sequence[Row]) -> list[str]:
    """Names of the rows that miss a target."""
    return [row.name for row in rows if any(row.verdict(target) is Verdict.MISSED for target in row.targets)]
