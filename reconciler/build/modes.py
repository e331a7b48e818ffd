"""`--chmod`: the mode a file gets. Pure.

Source: chmod(1), "symbolic mode"; the umask does not count.
"""

from __future__ import annotations

import re

from schemas.dockerfile.chmod import read_chmod

_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_ACTION = re.compile(r"([-+=])([rwxXstugo]*)")


def changed_mode(mode: int, chmod: str, is_directory: bool) -> int:
    """`chmod` as in the Dockerfile; empty changes nothing."""
    if not chmod:
        return mode
    wanted = read_chmod(chmod)
    if isinstance(wanted, int):
        return wanted
    for clause in wanted.split(","):
        who = clause[: re.search(r"[-+=]", clause).start()]  # type: ignore[union-attr]
        for operator, letters in _ACTION.findall(clause[len(who) :]):
            mode = _apply(mode, who.replace("a", "ugo") or "ugo", operator, letters, is_directory)
    return mode


def _apply(mode: int, who: str, operator: str, letters: str, is_directory: bool) -> int:
    for each in dict.fromkeys(who):
        shift = _SHIFT[each]
        bits = _bits(mode, letters, is_directory) << shift
        special = (0o4000 if each == "u" else 0o2000 if each == "g" else 0) if "s" in letters else 0
        special |= 0o1000 if "t" in letters else 0
        if operator == "+":
            mode |= bits | special
        elif operator == "-":
            mode &= ~(bits | special)
        else:
            mode = mode & ~(0o7 << shift) | bits | special
    return mode


def _bits(mode: int, letters: str, is_directory: bool) -> int:
    found = 0
    for letter in letters:
        if letter in _SHIFT:
            found |= mode >> _SHIFT[letter] & 0o7
        elif letter == "X":
            found |= 1 if is_directory or mode & 0o111 else 0
        else:
            found |= _BITS.get(letter, 0)
    return found
