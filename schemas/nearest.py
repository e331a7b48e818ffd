"""The nearest right name: what somebody who wrote a wrong one probably meant.

Called wherever a name is refused: fields, kinds, annotations, references.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The most alike of `known`, ignoring case and the difference of `-` and `_`; None when nothing is alike."""
    folded = {_fold(each): each for each in sorted(known, reverse=True)}
    found = difflib.get_close_matches(_fold(name), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def suggest(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """A remedy: `write memory`, or `otherwise` when no known name is alike."""
    found = nearest(name, known)
    return f"did you mean {found}?" if found else otherwise


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
