"""The nearest right name: what somebody who wrote a wrong one probably meant.

Called wherever a name is refused: fields, kinds, annotations, references.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SYNONYMS = {
    "args": "command",
    "cmd": "command",
    "cpu_limit": "cpus",
    "env": "environment",
    "envfrom": "env_file",
    "mem": "mem_limit",
    "memory": "mem_limit",
    "mounts": "volumes",
    "retry": "retries",
    "volumemounts": "volumes",
    "workdir": "working_dir",
}
"""What other tools call a field of the Compose Specification."""

SHORTEST_PREFIX = 3
ALIKE = 0.7
SLIP = 0.85


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The most alike of `known`, `-`, `_` and case aside; or None. A synonym or a single completion goes first."""
    folded = {_fold(each): each for each in sorted(known, reverse=True)}
    wrong = _fold(name)
    synonym = _fold(SYNONYMS.get(wrong.replace("_", ""), SYNONYMS.get(wrong, "")))
    if synonym in folded:
        return folded[synonym]
    completions = [each for each in folded if len(wrong) >= SHORTEST_PREFIX and each.startswith(wrong)]
    if len(completions) == 1:
        return folded[completions[0]]
    found = difflib.get_close_matches(wrong, folded, n=1, cutoff=ALIKE)
    return folded[found[0]] if found else None


def is_slip(wrong: str, right: str) -> bool:
    """Whether `wrong` is `right` but for a letter or two: so near that it can hardly be meant for something else."""
    matcher = difflib.SequenceMatcher(None, wrong, right)
    return matcher.real_quick_ratio() >= SLIP and matcher.quick_ratio() >= SLIP and matcher.ratio() >= SLIP


def suggest(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """A remedy: `did you mean memory?`, or `otherwise` when no known name is alike."""
    found = nearest(name, known)
    return f"did you mean {found}?" if found else otherwise


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
