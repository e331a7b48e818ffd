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
from schemas.field_path import Path

PlaceOf = Callable[[Path], Place | None]
EffectOf = Callable[[Path], Effect]


def diff_fields(
    want: Mapping[str, Any], have: Mapping[str, Any], effect_of: EffectOf, place_of: PlaceOf, secret: bool = False
) -> Iterator[Change]:
    """Fields of the manifest that differ from those recorded. Nested mappings are told field by field."""
    for path, new, old in _leaves((), want, have):
        yield Change(path, old, new, effect_of(path), place=place_of(path), secret=secret)


def diff_facts(
    want: Mapping[str, Any], have: Mapping[str, Any], asked: Mapping[str, Any], effect_of: EffectOf
) -> Iterator[Change]:
    """Facts that kernel or disk contradict. Only what is wanted is compared: the machine may say more.

    `asked` is what was wanted when the object was last brought in line: where it equals what is wanted now, the intent
    did not move, so the machine did, and that is drift.
    """
    for path, new, old in _wanted_leaves((), want, have):
        drift = _at(asked, path) == new
        yield Change(path, old, new, effect_of(path), drift=drift)


def _leaves(path: Path, new: Any, old: Any) -> Iterator[tuple[Path, Any, Any]]:
    if new == old:
        return
    if (new or old) and _is_mapping_or_none(new) and _is_mapping_or_none(old):
        # a mapping that was not there had none of its fields: each counts for itself; an empty one counts as a whole
        for name in sorted((new or {}).keys() | (old or {}).keys()):
            yield from _leaves((*path, name), (new or {}).get(name), (old or {}).get(name))
        return
    yield path, new, old


def _is_mapping_or_none(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _wanted_leaves(path: Path, new: Any, old: Any) -> Iterator[tuple[Path, Any, Any]]:
    if new == old:
        return
    if isinstance(new, Mapping) and (isinstance(old, Mapping) or not path):
        for name in sorted(new):
            yield from _wanted_leaves((*path, name), new[name], old.get(name))
        return
    yield path, new, old


def _at(value: Any, path: Path) -> Any:
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value
