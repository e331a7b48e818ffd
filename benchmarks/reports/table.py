"""The table on the terminal: a block for each row, a line for each tool, then the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.records import OURS, Row, Series
from benchmarks.reports.numbers import bound, number, quantity, ratio, reached, verdict, whose

WIDTH = 36


def table(rows: Sequence[Row]) -> str:
    return "\n\n".join("\n".join(_block(row)) for row in rows)


def _block(row: Row) -> Iterator[str]:
    yield f"{row.title}"
    for series in row.series:
        yield f"  {series.tool:{WIDTH}} {_values(row, series)}".rstrip()
    for target in row.targets:
        wanted = f"{whose(row, target)}{bound(row, target)}"
        yield f"  target {wanted}: {reached(row, target)} {verdict(row, target)}"
    if row.note:
        yield f"  {row.note}"


def _values(row: Row, series: Series) -> str:
    if series.median is None:
        return series.why_not
    first = row.series[0]
    against = row.ratio(OURS, series.tool) if first.tool == OURS and series is not first else None
    spread = f"({number(min(series.values))} to {number(max(series.values))}, {len(series.values)})"
    told = f"   {first.tool} is {ratio(against)}" if against is not None else ""
    return f"{quantity(series.median, row.unit):>14}  {spread:28}{told}"
