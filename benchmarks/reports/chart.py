"""The chart: for each row its tools as bars, the target as a line across ours. SVG written by hand; light and dark.

Each row has a scale of its own, since milliseconds and megabytes have none in common: the longest bar is as long as the
chart is wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.records import OURS, Row, Series, Target, Verdict
from benchmarks.reports.numbers import bound, quantity, reached, verdict, whose

WIDTH, LABELS, VALUES = 920, 270, 130
BARS = WIDTH - LABELS - VALUES
MARGIN, TITLE, BAR, GAP, FOOT = 24, 26, 20, 26, 20
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px } .quiet { fill: #656d76; font-size: 12px }
.ours { fill: #0969da } .peer { fill: #afb8c1 } .floor { fill: #d8dee4 }
.met { stroke: #1a7f37; fill: #1a7f37 } .missed { stroke: #cf222e; fill: #cf222e } .unknown { fill: #656d76 }
text.met, text.missed { stroke: none; font-size: 12px } line { stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet, .unknown { fill: #8d96a0 } .ours { fill: #4493f8 } .peer { fill: #59636e }
  .floor { fill: #3d444d } .met { stroke: #3fb950; fill: #3fb950 } .missed { stroke: #f85149; fill: #f85149 }
}
"""
CLASSES = {Verdict.MET: "met", Verdict.MISSED: "missed", Verdict.UNKNOWN: "unknown"}


@dataclass(frozen=True, slots=True)
class Scale:
    """Units of a row to pixels."""

    largest: float

    def length(self, value: float) -> float:
        return max(1.0, min(1.0, value / self.largest) * BARS)


def chart(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    parts: list[str] = []
    top = MARGIN + 40
    for row in rows:
        parts += _panel(row, top)
        top += TITLE + BAR * len(row.series) + FOOT * len(row.targets) + GAP
    where = f"{machine['date']} · {machine['system']} · Linux {machine['kernel']} · {machine['cores']} cores"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="Benchmarks">',
        f"<style>{STYLE}</style>",
        _text(MARGIN, MARGIN, "trimtab against the kernel and other engines: medians of one run", "title"),
        _text(MARGIN, MARGIN + 18, f"{where}. Ratios count; bars of one row share a scale.", "quiet"),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _panel(row: Row, top: int) -> Iterator[str]:
    medians = [series.median for series in row.series if series.median is not None]
    scale = Scale(max(medians, default=1.0) or 1.0)
    yield _text(MARGIN, top + 12, row.title, "title")
    at = top + TITLE
    for series in row.series:
        yield from _bar(row, series, scale, at)
        at += BAR
    for target in row.targets:
        yield _verdict(row, target, at + 14)
        at += FOOT


def _bar(row: Row, series: Series, scale: Scale, top: int) -> Iterator[str]:
    yield _text(LABELS - 8, top + 13, series.tool, "", anchor="end")
    if series.median is None:
        yield _text(LABELS, top + 13, series.why_not, "quiet")
        return
    length = scale.length(series.median)
    size = f'width="{length:.1f}" height="{BAR - 5}" rx="2"'
    yield f'<rect class="{_kind(series.tool)}" x="{LABELS}" y="{top + 2}" {size}/>'
    ends = [length]
    for target in row.targets:
        limit = row.bound(target)
        if target.tool == series.tool and limit is not None and limit <= scale.largest:
            ends.append(scale.length(limit))
            yield _limit(LABELS + ends[-1], top, CLASSES[row.verdict(target)])
    near = [end for end in ends if end <= length + VALUES / 2]
    yield _text(LABELS + max(near) + 8, top + 13, quantity(series.median, row.unit), "quiet")


def _limit(x: float, top: int, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + BAR - 1}"/>'


def _kind(tool: str) -> str:
    if tool.startswith(OURS):
        return "ours"
    return "floor" if "floor" in tool else "peer"


def _verdict(row: Row, target: Target, y: int) -> str:
    told = f"{whose(row, target)}{bound(row, target)}: {reached(row, target)}, {verdict(row, target).lower()}"
    return _text(LABELS, y, told, CLASSES[row.verdict(target)])


def _text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y}" text-anchor="{anchor}">{escape(content)}</text>'
