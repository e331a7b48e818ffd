"""Shell patterns on values: `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`, `${x/p/r}`, `${x//p/r}`.

`*` is any string and `?` any character, neither over a line's end; a backslash takes the meaning from `* ? \\ } /`.
There are no brackets. Matching follows all ways through the pattern at once, so that no pattern takes more than time
proportional to the value. Called by the expansion of words.

Source: POSIX, Shell Command Language, 2.13.1 Patterns Matching a Single Character, without bracket expressions.
"""

from __future__ import annotations

from collections.abc import Sequence

STAR = "*any string*"
ANY = "*any character*"
_ESCAPABLE = "*?\\}/"

Tokens = tuple[str, ...]
"""STAR, ANY, or one character each."""


def read_pattern(pattern: str) -> Tokens:
    """The parts of a pattern. Raises ValueError for a backslash before a character that has no meaning to lose."""
    tokens: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
            char = pattern[at : at + 1]
            if not char or char not in _ESCAPABLE:
                raise ValueError(f"\\{char} in the pattern {pattern!r} has no meaning; write \\\\ for a backslash")
            tokens.append(char)
        else:
            tokens.append({"*": STAR, "?": ANY}.get(char, char))
        at += 1
    return tuple(tokens)


def trim_start(value: str, tokens: Tokens, *, longest: bool) -> str:
    """The value without what matches at its start, the shortest or the longest."""
    ends = _ends(tokens, value, 0)[0]
    return value[ends[-1 if longest else 0] :] if ends else value


def trim_end(value: str, tokens: Tokens, *, longest: bool) -> str:
    """The value without what matches at its end, the shortest or the longest."""
    return trim_start(value[::-1], tokens[::-1], longest=longest)[::-1]


def replace(value: str, tokens: Tokens, replacement: str, *, everywhere: bool) -> str:
    """The value with the first match, or every one, replaced; each as long as it can be."""
    parts: list[str] = []
    kept = start = 0
    previous = -1
    while start <= len(value):
        ends, reached_star = _ends(tokens, value, start)
        if ends and not (ends[-1] == start == previous):
            parts += [value[kept:start], replacement]
            kept = previous = ends[-1]
            if not everywhere:
                break
            start = max(kept, start + 1) if kept == start else kept
            continue
        start = _next_start(value, start, passed_star=reached_star and not ends)
    return "".join(parts) + value[kept:]


def _next_start(value: str, start: int, *, passed_star: bool) -> int:
    """Where to try next. What follows a star was not found on this line, so no later start on it can succeed."""
    if not passed_star:
        return start + 1
    line_end = value.find("\n", start)
    return len(value) + 1 if line_end < 0 else line_end + 1


def _ends(tokens: Tokens, value: str, start: int) -> tuple[list[int], bool]:
    """Where matches begun at `start` end, ascending; and whether the pattern's first star was reached."""
    states = _past_stars(tokens, {0})
    reached_star = any(tokens[state - 1 : state] == (STAR,) for state in states)
    ends = [start] if len(tokens) in states else []
    for at in range(start, len(value)):
        states = _past_stars(tokens, _step(tokens, states, value[at]))
        if not states:
            break
        reached_star = reached_star or any(tokens[state - 1 : state] == (STAR,) for state in states)
        if len(tokens) in states:
            ends.append(at + 1)
    return ends, reached_star


def _step(tokens: Sequence[str], states: set[int], char: str) -> set[int]:
    """The places in the pattern after `char`. A star stays where it is."""
    after = set()
    for state in states:
        token = tokens[state] if state < len(tokens) else ""
        if token == STAR:
            after |= {state} if char != "\n" else set()
        elif token == char or (token == ANY and char != "\n"):
            after.add(state + 1)
    return after


def _past_stars(tokens: Sequence[str], states: set[int]) -> set[int]:
    """The places, and those reached when stars match nothing."""
    every = set(states)
    for state in states:
        while state < len(tokens) and tokens[state] == STAR:
            state += 1
            every.add(state)
    return every
