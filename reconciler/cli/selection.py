"""Which objects a command line means: `containers`, `container/web`, `all`; what was meant where there is none.

Pure: called with the words and with the keys that are known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from schemas.errors import Missing, Refused
from schemas.kind_words import find_kind
from schemas.names import Key, Kind

ALL = "all"
ORDER = {kind: number for number, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Selection:
    """Whole kinds, and single objects; each in the order of the command line."""

    kinds: tuple[Kind, ...] = ()
    keys: tuple[Key, ...] = ()

    @property
    def is_one(self) -> bool:
        """Whether a single kind, or objects of one kind, are meant."""
        return len({*self.kinds, *(key.kind for key in self.keys)}) == 1


EVERYTHING = Selection(kinds=tuple(Kind))


def read_selection(words: Sequence[str]) -> Selection:
    """`containers`, `container/web`, `images,volumes`, `all`; nothing means all. Raises Refused."""
    parts = [part for word in words for part in word.split(",") if part]
    if not parts or ALL in parts:
        return EVERYTHING
    kinds = [find_kind(part) for part in parts if "/" not in part]
    return Selection(tuple(dict.fromkeys(kinds)), tuple(read_key(part) for part in parts if "/" in part))


def read_key(text: str) -> Key:
    """`container/web`. Raises Refused."""
    kind, slash, name = text.partition("/")
    if not slash:
        raise Refused(f"{text!r} names no object", hint="write KIND/NAME, as in container/web")
    if not name or name.startswith("/"):
        raise Refused(f"{text!r} names no object", hint=f"write {kind.lower()}/NAME")
    return Key(find_kind(kind), name)


def select(selection: Selection, known: Collection[Key]) -> list[Key]:
    """The known keys meant, by kind and name. Raises Refused for a key that is not known."""
    for key in selection.keys:
        if key not in known:
            raise unknown(key, known)
    chosen = {key for key in known if key.kind in selection.kinds} | set(selection.keys)
    return sorted(chosen, key=in_order)


def unknown(key: Key, known: Iterable[Key]) -> Refused:
    """There is no such object; the hint names the nearest one of its kind, else of any kind."""
    everything = sorted(known, key=in_order)
    near = _nearest(key.name, [each for each in everything if each.kind is key.kind]) or _nearest(key.name, everything)
    return Missing(f"there is no {key}", hint=f"did you mean {near}?" if near else "`trimtab get` lists what there is")


def _nearest(name: str, keys: Sequence[Key]) -> Key | None:
    from schemas.nearest import nearest

    found = nearest(name, (key.name for key in keys))
    return next((key for key in keys if key.name == found), None)


def in_order(key: Key) -> tuple[int, list[tuple[int, str]]]:
    """By kind as the documentation lists them, then by name, numbers by their value: `web-2` before `web-10`."""
    return ORDER[key.kind], list(_parts(key.name))


def _parts(name: str) -> Iterator[tuple[int, str]]:
    for part in re.split(r"([0-9]+)", name):
        yield (int(part), "") if part.isdigit() else (-1, part)


@dataclass(frozen=True, slots=True)
class Labels:
    """What `-l` asks for: every pair must be there; a value of None asks for the label alone."""

    wanted: tuple[tuple[str, str | None], ...] = field(default=())

    @classmethod
    def read(cls, words: Sequence[str]) -> Labels:
        """`app=shop`, `app`, `app=shop,tier=front`. Raises Refused."""
        pairs = [part.partition("=") for word in words for part in word.split(",") if part]
        if any(not name for name, _, _ in pairs):
            raise Refused("a label has no name", hint="write -l LABEL=VALUE, or -l LABEL")
        return cls(tuple((name, value if equals else None) for name, equals, value in pairs))

    def match(self, labels: object) -> bool:
        found = labels if isinstance(labels, dict) else {}
        return all(name in found and value in (None, found[name]) for name, value in self.wanted)


ANY_LABELS = Labels()
