"""A run as JSON, every value of it, and back again: reports can be made anew without measuring anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.records import Row, Series, Target

VERSION = "trimtab-benchmarks/v1"


def write_document(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """Values are in each row's unit, in the order in which they were measured."""
    made = {"apiVersion": VERSION, "machine": dict(machine), "rows": [_row(row) for row in rows]}
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _row(row: Row) -> dict[str, Any]:
    series = [
        {
            "tool": one.tool,
            "median": one.median,
            "values": [round(value, 4) for value in one.values],
            "why_not": one.why_not,
        }
        for one in row.series
    ]
    targets = [
        {**asdict(target), "ratio": row.ratio(target.tool, target.against), "verdict": row.verdict(target).value}
        for target in row.targets
    ]
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "note": row.note,
        "series": series,
        "targets": targets,
    }


def read_document(text: str) -> tuple[list[Row], dict[str, str]]:
    found = json.loads(text)
    return [_read_row(row) for row in found["rows"]], found["machine"]


def _read_row(row: Mapping[str, Any]) -> Row:
    series = tuple(Series(one["tool"], tuple(one["values"]), one["why_not"]) for one in row["series"])
    fields = ("limit", "against", "tool", "extra", "at_least")
    targets = tuple(Target(**{name: target[name] for name in fields}) for target in row["targets"])
    return Row(row["name"], row["title"], row["unit"], series, targets, row["note"])
