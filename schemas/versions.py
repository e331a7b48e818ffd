"""Versions as semver.org has them, and ranges of them as npm's users write them: `>=1.4 <2`, `^1.2`, `~1.2.3`, `1.x`,
`1.2 - 2.0`, joined by `||`.

Pure. A pre-release is in a range only where the range names a pre-release of the same version, so that `>=1` never
follows `2.0.0-rc.1`. Called by the Source kind to check a range, and by the git source to choose a tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import total_ordering

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_PRE = r"(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+(?P<build>[0-9A-Za-z.-]+))?"
_VERSION = re.compile(rf"v?(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER}){_PRE}")
_PART = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL = rf"[vV]?(?P<major>{_PART})(?:\.(?P<minor>{_PART})(?:\.(?P<patch>{_PART}){_PRE})?)?"
_COMPARATOR = re.compile(rf"(?P<operator>[<>]=?|=|\^|~>?)?\s*{_PARTIAL}")
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")
Core = tuple[int, int, int]


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """Compared by precedence (semver.org, 11): what was built is no part of it."""

    core: Core
    pre: tuple[str, ...] = ()

    def _rank(self) -> tuple[Core, bool, tuple[tuple[bool, int, str], ...]]:
        words = tuple((False, int(w), "") if w.isdigit() else (True, 0, w) for w in self.pre)
        return self.core, not self.pre, words

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._rank() == other._rank()

    def __lt__(self, other: Version) -> bool:
        return self._rank() < other._rank()

    def __hash__(self) -> int:
        return hash(self._rank())

    def __str__(self) -> str:
        text = ".".join(map(str, self.core))
        return f"{text}-{'.'.join(self.pre)}" if self.pre else text


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a range: `operator` is one of `<`, `<=`, `>`, `>=`, `=`."""

    operator: str
    version: Version

    def admits(self, version: Version) -> bool:
        match self.operator:
            case "<":
                return version < self.version
            case "<=":
                return version <= self.version
            case ">":
                return version > self.version
            case ">=":
                return version >= self.version
            case _:
                return version == self.version


@dataclass(frozen=True, slots=True)
class Range:
    """Alternatives, of which one must hold; each a list of bounds, of which all must."""

    alternatives: tuple[tuple[Bound, ...], ...]

    def admits(self, version: Version) -> bool:
        return any(_all_admit(bounds, version) for bounds in self.alternatives)

    def newest(self, names: Iterable[str]) -> str | None:
        """Of the names that are versions in this range, that of the newest; None where none is."""
        found = [(version, name) for name in names if (version := read_version(name)) and self.admits(version)]
        return max(found)[1] if found else None


def _all_admit(bounds: tuple[Bound, ...], version: Version) -> bool:
    if not all(bound.admits(version) for bound in bounds):
        return False
    return not version.pre or any(bound.version.pre and bound.version.core == version.core for bound in bounds)


def read_version(text: str) -> Version | None:
    """The version that a tag names, with or without `v` before it; None where it names none."""
    found = _VERSION.fullmatch(text)
    if found is None or not _is_pre(found["pre"]):
        return None
    core = int(found["major"]), int(found["minor"]), int(found["patch"])
    return Version(core, tuple(found["pre"].split(".")) if found["pre"] else ())


def _is_pre(text: str | None) -> bool:
    """Whether every part of a pre-release is one: not empty, no leading zeros in a number."""
    words = text.split(".") if text is not None else []
    return all(word and not (word.isdigit() and len(word) > 1 and word[0] == "0") for word in words)


def read_range(text: str) -> Range:
    """Raises ValueError for what is no range."""
    return Range(tuple(tuple(_bounds(part)) for part in text.split("||")))


def _bounds(text: str) -> Iterator[Bound]:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen is not None:
        yield from _comparator(f">={hyphen[1]}")
        yield from _comparator(f"<={hyphen[2]}")
        return
    words = re.sub(r"([<>=^~])\s+", r"\1", text.replace(",", " ")).split()
    if not words:
        raise ValueError("a range is empty; write one as in >=1.4 <2")
    for word in words:
        yield from _comparator(word)


def _comparator(text: str) -> Iterator[Bound]:
    found = _COMPARATOR.fullmatch(text)
    if found is None or not _is_pre(found["pre"]):
        raise ValueError(f"{text!r} is no range of versions; write one as in >=1.4 <2")
    given: list[int] = []
    for name in ("major", "minor", "patch"):
        if found[name] is None or found[name] in "xX*":
            break
        given.append(int(found[name]))
    pre = tuple(found["pre"].split(".")) if found["pre"] and len(given) == 3 else ()
    yield from _between(found["operator"] or "=", given, pre)


def _between(operator: str, given: list[int], pre: tuple[str, ...]) -> Iterator[Bound]:
    """The bounds of an operator and the parts that were given; the others may be anything."""
    low = Version(_core(given), pre)
    if operator == "^":
        first = next((index for index, part in enumerate(given) if part), len(given) - 1)
        yield from _from_until(low, given[: first + 1])
    elif operator in ("~", "~>"):
        yield from _from_until(low, given[:2])
    elif operator == "=":
        if len(given) == 3:
            yield Bound("=", low)
        else:
            yield from _from_until(low, given)
    elif operator in (">", "<="):
        if len(given) == 3:
            yield Bound(operator, low)
        elif given:
            yield Bound(">=" if operator == ">" else "<", Version(_next(given)))
        elif operator == ">":
            yield Bound("<", Version((0, 0, 0)))
        else:
            yield Bound(">=", Version((0, 0, 0)))
    else:
        yield Bound(operator, low)


def _from_until(low: Version, fixed: list[int]) -> Iterator[Bound]:
    yield Bound(">=", low)
    if fixed:
        yield Bound("<", Version(_next(fixed), ("0",) if low.pre else ()))


def _core(given: list[int]) -> Core:
    major, minor, patch = (*given, 0, 0, 0)[:3]
    return major, minor, patch


def _next(given: list[int]) -> Core:
    return _core([*given[:-1], given[-1] + 1])
