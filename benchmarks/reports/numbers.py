"""How numbers and targets are written, the same in every report."""

from __future__ import annotations

from benchmarks.records import Row, Target, Verdict

MARKS = {Verdict.MET: "met", Verdict.MISSED: "MISSED", Verdict.UNKNOWN: "not measured"}


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def quantity(value: float | None, unit: str) -> str:
    return "" if value is None else f"{number(value)} {unit}"


def ratio(value: float | None) -> str:
    if value is None:
        return ""
    if value < 0.2:
        return f"{value:.3f} ×"
    return f"{value:.2f} ×" if value < 10 else f"{value:.0f} ×"


def bound(row: Row, target: Target) -> str:
    """`≤ 0.4 × runc run`, `≤ 1,500 ms`, `≥ 100 MB/s`."""
    sign = "≥" if target.at_least else "≤"
    if not target.against:
        return f"{sign} {number(target.limit) if target.limit % 1 else f'{target.limit:,.0f}'} {row.unit}"
    extra = f" + {target.extra:.0f} {row.unit}" if target.extra else ""
    return f"{sign} {target.limit:g} × {target.against}{extra}"


def reached(row: Row, target: Target) -> str:
    """The ratio, or the value where the target is one."""
    if target.against and not target.extra:
        return ratio(row.ratio(target.tool, target.against))
    return quantity(row.median(target.tool), row.unit)


def verdict(row: Row, target: Target) -> str:
    return MARKS[row.verdict(target)]


def whose(row: Row, target: Target) -> str:
    """Whose target it is, where a row has several of ours."""
    return "" if target.tool == row.series[0].tool and len({t.tool for t in row.targets}) == 1 else f"{target.tool}: "
