"""What the planner asks of each kind: how far a change reaches, and what follows from a dependency's change.

Pure. The effect of a manifest's field is declared in its schema; the effect of a fact is declared by the kind beside
this file, since a fact has no schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.actions import Action, Change, Effect
from reconciler.desired import Desired, Observed
from schemas.field import effect_of
from schemas.field_path import Path
from schemas.names import Key, Kind
from schemas.spec_models import SPEC_MODELS

Relevant = Callable[[Desired, Observed], Mapping[str, Any]]
Follow = Callable[[Desired, Mapping[Key, Sequence[Action]]], tuple[Change, ...]]


def follows_nothing(want: Desired, needs: Mapping[Key, Sequence[Action]]) -> tuple[Change, ...]:
    """For kinds whose objects do not change when what they depend on does."""
    return ()


def all_facts(want: Desired, have: Observed) -> Mapping[str, Any]:
    """For kinds whose every fact is looked at."""
    return want.facts


@dataclass(frozen=True, slots=True)
class Rules:
    """One kind's rules. `effects`: of what has no schema, by the first step of its path. `most`: the farthest any
    change may reach, for kinds that are never taken away to change."""

    kind: Kind
    effects: Mapping[str, Effect] = field(default_factory=dict)
    most: Effect = Effect.REPLACE
    follow: Follow = follows_nothing
    relevant: Relevant = all_facts
    """Which of the wanted facts can be true of what was found: a process that ended has no limits."""

    def effect_of(self, path: Path) -> Effect:
        """How far a change at `path` reaches. Metadata is always changed in place."""
        head, *rest = path
        if head == "metadata":
            return Effect.LIVE
        if head == "spec":
            declared = Effect.named(effect_of(SPEC_MODELS[self.kind], rest)) if rest else Effect.REPLACE
            return min(declared, self.most)
        return self.effects.get(str(head), Effect.LIVE)
