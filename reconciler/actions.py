"""The vocabulary of a plan: changes, actions, and the sentences both `diff` and `apply` print.

Pure values. An action is one idempotent step as data: what, on which object, why, and after which others.
Replacing is two plain actions on one key, delete and create. Nothing here knows how an action is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from schemas.errors import Place
from schemas.field_path import Path, format_path
from schemas.names import Key

EMPTY = "(none)"


class Verb(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    UNCHANGED = "unchanged"


class Effect(IntEnum):
    """How far a change reaches into a living object; the larger includes the smaller."""

    LIVE = 0
    RESTART = 1
    REPLACE = 2

    @classmethod
    def named(cls, name: str) -> Effect:
        return cls[name.upper()]

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Change:
    """One field that disagrees. `drift`: the machine moved, the manifest did not. `implied`: a fact that only follows
    from a field of the manifest told beside it."""

    path: Path
    old: Any
    new: Any
    effect: Effect
    drift: bool = False
    place: Place | None = None
    secret: bool = False
    implied: bool = False

    @property
    def field(self) -> str:
        """The path as people write it: `spec.ports[0]`."""
        return format_path(self.path)

    def describe(self) -> str:
        if self.secret:
            return f"{self.field}: (secret) → (secret)"
        old, new = show(self.old), show(self.new)
        if old == new:
            # an empty value that comes or goes, as a network without options
            old, new = (EMPTY if value is None else str(value) for value in (self.old, self.new))
        return f"{self.field}: {old} → {new}"


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """Names an action within one plan: no plan does the same thing to the same object twice."""

    verb: Verb
    key: Key

    def __str__(self) -> str:
        return f"{self.verb} {self.key}"


@dataclass(frozen=True, slots=True)
class Action:
    """One step. `after`: steps that must have succeeded before it; `behind`: those that need only have ended."""

    verb: Verb
    key: Key
    reason: str
    changes: tuple[Change, ...] = ()
    after: tuple[Step, ...] = ()
    replaces: bool = False
    place: Place | None = None
    behind: tuple[Step, ...] = ()

    @property
    def step(self) -> Step:
        return Step(self.verb, self.key)

    @property
    def effect(self) -> Effect:
        return max((change.effect for change in self.changes), default=Effect.LIVE)

    @property
    def symbol(self) -> str:
        if self.replaces:
            return "±"
        return {Verb.CREATE: "+", Verb.UPDATE: "~", Verb.DELETE: "-", Verb.UNCHANGED: "="}[self.verb]

    def describe(self) -> str:
        """The sentence of this action, the same in a plan and in an apply."""
        verb = self.verb.value
        if self.replaces:
            verb = "replace"
        elif self.verb is Verb.UPDATE and self.effect is Effect.RESTART:
            verb = "restart"
        return f"{self.symbol} {self.key} {verb}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Note:
    """What of an object's manifest does not reach as far as its author may think."""

    key: Key
    text: str

    def describe(self) -> str:
        return f"{self.key} {self.text}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in an order that respects `after`; unchanged objects stand explicitly. `notes` are for the reader;
    `orphans`: what the set owns, the manifests no longer declare, and nobody asked to delete. `later`: replicas whose
    turn comes in later passes."""

    actions: tuple[Action, ...]
    notes: tuple[Note, ...] = ()
    orphans: tuple[Key, ...] = ()
    later: tuple[Key, ...] = ()

    @property
    def effective(self) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if action.verb is not Verb.UNCHANGED)

    @property
    def empty(self) -> bool:
        return not self.effective

    def counts(self) -> Mapping[str, int]:
        """How many objects are created, updated, replaced, deleted, unchanged."""
        count = dict.fromkeys(("create", "update", "replace", "delete", "unchanged"), 0)
        for action in self.actions:
            if action.replaces:
                count["replace"] += action.verb is Verb.CREATE
            else:
                count[action.verb.value] += 1
        return count


def show(value: Any) -> str:
    """A value as the reader of a plan sees it, on one line."""
    if value is None or value == {} or value == [] or value == ():
        return EMPTY
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
