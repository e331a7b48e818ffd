"""Objects as JSON for programs: `trimtab/v1` `ObjectList`, the same for `get` and `describe`. Pure.

{"apiVersion", "kind": "ObjectList", "items": [{"object", "kind", "name", "set", "owner", "origin": {"file", "line",
"commit"}, "generation", "created", "health", "status", "standing", "changedByHand", "manifest", "needs", "usedBy",
"facts", "process", "differences": [{"field", "wanted", "found"}]}]}. What is not known is null. Documented in
docs/objects.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reconciler.actions import Change
from reconciler.cli.columns import Row
from reconciler.cli.manifests import manifest_of
from reconciler.cli.quantities import time_text
from reconciler.cli.seen import Seen
from schemas.names import API_VERSION


def report_text(rows: Sequence[Row], *, secrets: bool) -> str:
    """The kind `ObjectList` of docs/objects.md."""
    items = [item_of(row, secrets=secrets) for row in rows]
    document = {"apiVersion": API_VERSION, "kind": "ObjectList", "items": items}
    return json.dumps(document, indent=2, ensure_ascii=False)


def item_of(row: Row, *, secrets: bool) -> dict[str, Any]:
    """One object as docs/objects.md lists its fields."""
    seen = row.seen
    return {
        "object": str(seen.key),
        "kind": seen.key.kind.value,
        "name": seen.key.name,
        "set": seen.set or None,
        "owner": str(seen.record.owner) if seen.record is not None and seen.record.owner is not None else None,
        "origin": _origin(seen),
        "generation": seen.entry.generation if seen.entry is not None else None,
        "created": time_text(seen.made_at) if seen.made_at else None,
        "health": row.standing.health.value,
        "status": row.standing.status,
        "standing": row.status.fields(),
        "changedByHand": row.stray or None,
        "manifest": manifest_of(seen, secrets=secrets) if seen.entry is not None else None,
        "needs": [str(key) for key in seen.needs],
        "usedBy": [str(key) for key in seen.users],
        "facts": dict(seen.facts) if seen.observed is not None else None,
        "process": _process(seen),
        "differences": [_difference(change) for change in seen.differences],
    }


def _origin(seen: Seen) -> dict[str, Any] | None:
    entry = seen.entry
    return {"file": entry.file, "line": entry.line, "commit": entry.commit or None} if entry is not None else None


def _process(seen: Seen) -> dict[str, Any] | None:
    process = seen.process
    if process is None:
        return None
    return {
        "phase": process.phase.value,
        "pid": process.pid or None,
        "created": time_text(process.created_at) if process.created_at else None,
        "started": time_text(process.started_at) if process.started_at else None,
        "exit": asdict(process.exit) if process.exit is not None else None,
    }


def _difference(change: Change) -> dict[str, Any]:
    return {"field": change.field, "wanted": change.new, "found": change.old}
