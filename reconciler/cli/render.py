"""A plan as text or JSON, the same for `diff` and `apply --dry-run`.

The JSON is `trimtab/v1` `Plan`: {"apiVersion", "kind", "set", "actions": [{"action", "object", "reason", "place",
"after", "changes": [{"field", "old", "new", "effect", "cause", "place"}]}], "notes": [{"object", "text"}], "orphans":
[object], "later": [object], "summary": {"create": n, …}}, documented in docs/diff.md. Secret values never show.
Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.actions import Action, Change, Note, Plan, Verb
from reconciler.cli.quantities import objects_are
from reconciler.prune import orphans_told
from schemas.errors import Place
from schemas.names import API_VERSION

COLOURS = {"+": "green", "~": "yellow", "±": "magenta", "-": "red"}
SECRET = "(secret)"


def plan_lines(plan: Plan, set_name: str) -> Iterator[tuple[str, str | None]]:
    """Lines and their colour: each object's sentence, then its fields, then one summary."""
    for action in plan.effective:
        if action.replaces and action.verb is Verb.DELETE:
            continue
        yield f"{action.describe()}{place_text(action.place)}", COLOURS[action.symbol]
        for change in action.changes:
            if change.implied:
                continue
            yield f"    {change_line(change)}", None
    for note in plan.notes:
        yield f"note: {note.describe()}", "cyan"
    if plan.orphans:
        yield f"note: {orphans_told(plan.orphans, set_name)}", "cyan"
    yield summary(plan), None


def place_text(place: Place | None) -> str:
    """`  (web.yaml:14)` behind a sentence; nothing where nobody wrote it."""
    return f"  ({place.file}:{place.line})" if place is not None else ""


def change_line(change: Change) -> str:
    """One field: old → new, how far it reaches, whether it is drift, where it stands."""
    where = place_text(change.place) if not change.drift else ""
    cause = "  [drift]" if change.drift else ""
    effect = f"  [{change.effect.word}]" if change.effect.value else ""
    return f"{change.describe()}{effect}{cause}{where}"


def summary(plan: Plan) -> str:
    """One line: `Plan: 3 to create, 1 to update, 2 unchanged.`"""
    counts = plan.counts()
    if plan.empty and not plan.later:
        return f"No difference: {objects_are(counts['unchanged'])} as declared."
    words = (("create", "to create"), ("update", "to update"), ("replace", "to replace"), ("delete", "to delete"))
    told = [f"{counts[name]} {text}" for name, text in words if counts[name]]
    told += [f"{len(plan.later)} later"] if plan.later else []
    return f"Plan: {', '.join(told)}, {counts['unchanged']} unchanged."


def plan_document(plan: Plan, set_name: str) -> dict[str, Any]:
    """The kind `Plan` of docs/diff.md."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Plan",
        "set": set_name,
        "actions": [_action(action) for action in plan.actions],
        "notes": note_rows(plan.notes),
        "orphans": [str(key) for key in plan.orphans],
        "later": [str(key) for key in plan.later],
        "summary": dict(plan.counts()),
    }


def note_rows(notes: Iterable[Note]) -> list[dict[str, str]]:
    """The field `notes` of plans and outcomes."""
    return [{"object": str(note.key), "text": note.text} for note in notes]


def _action(action: Action) -> dict[str, Any]:
    return {
        "action": action.verb.value,
        "replaces": action.replaces,
        "object": str(action.key),
        "reason": action.reason,
        "place": str(action.place) if action.place else None,
        "after": [str(step) for step in action.after],
        "changes": [_change(change) for change in action.changes],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "field": change.field,
        "old": SECRET if change.secret else change.old,
        "new": SECRET if change.secret else change.new,
        "effect": change.effect.word,
        "cause": "drift" if change.drift else "manifest",
        "place": str(change.place) if change.place else None,
    }
