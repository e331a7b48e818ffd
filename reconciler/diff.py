"""What disagrees between an object as desired and as observed, field by field, on canonical values.

Pure. Two comparisons: the manifest's fields against those recorded when the object was made (a changed manifest),
and the facts the manifest implies against what kernel and disk say now (drift). Never by hashing a serialisation,
so a field that a newer trimtab adds, left at its default, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.actions import Change, Effect
from schemas.errors import Place

PlaceOf = Callable[[str], Place | None]
EffectOf = Callable[[str], Effect]


def diff_fields(
    want: Mapping[str, Any], have: Mapping[str, Any], effect_of: EffectOf, place_of: PlaceOf, secret: bool = False
) -> Iterator[Change]:
    """Fields of the manifest that differ from those recorded. Nested mappings are told field by field."""
    for field in sorted(want.keys() | have.keys()):
        for path, new, old in _leaves(field, want.get(field), have.get(field)):
            yield Change(path, old, new, effect_of(path), place=place_of(path), secret=secret)


def diff_facts(
    want: Mapping[str, Any], have: Mapping[str, Any], asked: Mapping[str, Any], effect_of: EffectOf
) -> Iterator[Change]:
    """Facts that kernel or disk contradict. Only what is wanted is compared: the machine may say more.

    `asked` is what was wanted when the object was last brought in line: where it equals `want`, the intent did
    not move, so the machine did, and that is drift.
    """
    for fact in sorted(want):
        if want[fact] != have.get(fact):
            drift = asked.get(fact) == want[fact]
            yield Change(fact, have.get(fact), want[fact], effect_of(fact), drift=drift)


def _leaves(path: str, new: Any, old: Any) -> Iterator[tuple[str, Any, Any]]:
    if new == old:
        return
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        for name in sorted(new.keys() | old.keys()):
            yield from _leaves(f"{path}.{name}", new.get(name), old.get(name))
        return
    yield path, new, old
