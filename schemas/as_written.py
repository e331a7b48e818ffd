"""The way to a field of the canonical spec through what its author wrote, where the two have different shapes.

Short forms are why: a list may stand for a map (`environment: [FOO=1]`), one item for many (`ports: ["80-89:80-89"]`),
a text for a map. Called by `envelope` when a place is asked for. Looks, and reads nothing.
"""

from __future__ import annotations

from typing import Any

from schemas.field_path import Path


def as_written(path: Path, written: Any, canonical: Any) -> Path:
    """The longest part of `path`, as `("spec", "networks", "front")`, that leads through the spec as it was written.

    Where a list stands for a map, the name becomes the index of the item that stands for it.
    """
    if path[:1] != ("spec",) or not isinstance(written, dict):
        return path
    found = path[:1]
    for step in path[1:]:
        taken = _step(written, canonical, step)
        if taken is None:
            break
        found = (*found, taken)
        written, canonical = written[taken], _below(canonical, step)
    return found


def _step(written: Any, canonical: Any, step: str | int) -> str | int | None:
    """The key or index at which `written` holds what `canonical` holds at `step`; None where that cannot be told."""
    if isinstance(written, dict):
        return step if step in written else None
    if not isinstance(written, list):
        return None
    if isinstance(step, int):
        return step if 0 <= step < len(written) == _length(canonical) else None
    return next((index for index, item in enumerate(written) if _stands_for(item, step)), None)


def _stands_for(item: Any, name: str) -> bool:
    """Whether an item of a list is the entry `name` of a map: `FOO`, `FOO=text`, `foo:10.0.0.1`."""
    return isinstance(item, str) and (item == name or item.startswith((f"{name}=", f"{name}:")))


def _below(canonical: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return canonical.get(step) if isinstance(canonical, dict) else getattr(canonical, step, None)
    return canonical[step] if isinstance(canonical, tuple | list) and step < len(canonical) else None


def _length(canonical: Any) -> int | None:
    return len(canonical) if isinstance(canonical, tuple | list) else None
