"""A kind as people type it: in any case, singular or plural. Used by the command line, the API and `explain`."""

from __future__ import annotations

from schemas.errors import Refused
from schemas.names import Kind


def find_kind(word: str) -> Kind:
    """`container`, `Containers`. Raises Refused naming the nearest."""
    folded = word.lower().removesuffix("s")
    for kind in Kind:
        if kind.value.lower() == folded:
            return kind
    from schemas.nearest import nearest  # imports difflib, which a completed word need not wait for

    names = [kind.value.lower() for kind in Kind]
    near = nearest(folded, names)
    raise Refused(f"{word!r} is not a kind", hint=f"did you mean {near}?" if near else f"known: {', '.join(names)}")
