"""How the rest of a line falls into flags and words, each with its offset. Variables are left as they are.

Called by `statement`. Quotes are taken away from flags and kept in words, as BuildKit does: words are unquoted where
their variables are expanded.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from schemas.dockerfile.faults import Fault
from schemas.dockerfile.shell_words import is_space

_WHITE = re.compile(r"[\t\v\f\r ]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Word:
    """A word, and where it begins in its line."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Pair:
    """`name=value`, or `name value` if `legacy`."""

    name: str
    value: str
    legacy: bool
    offset: int


def skip_space(text: str, at: int) -> int:
    while at < len(text) and is_space(text[at]):
        at += 1
    return at


def split_instruction(text: str) -> tuple[Word, int]:
    """The first word, and where the next begins."""
    start = skip_space(text, 0)
    space = _WHITE.search(text, start)
    if space is None:
        return Word(text[start:].rstrip(), start), len(text)
    return Word(text[start : space.start()], start), space.end()


def split_flags(text: str, at: int, escape: str) -> tuple[list[Word], int]:
    """The words that begin with `--`, unquoted, up to the first that does not or to `--`; and where the rest begins."""
    flags: list[Word] = []
    at = skip_space(text, at)
    while text.startswith("--", at):
        flag, at = _read_flag(text, at, escape)
        if flag.text == "--":
            return flags, skip_space(text, at)
        flags.append(flag)
        at = skip_space(text, at)
    return flags, at


def _read_flag(text: str, start: int, escape: str) -> tuple[Word, int]:
    chars: list[str] = []
    quote = ""
    at = start
    while at < len(text) and (quote or not is_space(text[at])):
        char = text[at]
        at += 1
        if char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        elif char == escape:
            chars.append(text[at : at + 1])
            at += 1
        else:
            chars.append(char)
    return Word("".join(chars), start), at


def split_words(text: str, at: int, escape: str) -> list[Word]:
    """Words parted by spaces outside quotes; quotes and escapes stay."""
    words: list[Word] = []
    at = skip_space(text, at)
    while at < len(text):
        start = at
        at = _word_end(text, start, escape)
        # An escape that ends the line escapes nothing and goes.
        ends_escaped = at == len(text) and text[at - 1] == escape and _is_lone(text, start, at, escape)
        words.append(Word(text[start : at - ends_escaped], start))
        at = skip_space(text, at)
    return [word for word in words if word.text]


def _word_end(text: str, at: int, escape: str) -> int:
    quote = ""
    while at < len(text) and (quote or not is_space(text[at])):
        char = text[at]
        if char == escape and quote != "'":
            at += 1
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        at += 1
    return min(at, len(text))


def _is_lone(text: str, start: int, end: int, escape: str) -> bool:
    """Whether the last escape of the word is not itself escaped: their run is odd."""
    run = end - start - len(text[start:end].rstrip(escape))
    return run % 2 == 1


def split_white(text: str, at: int) -> list[Word]:
    """Words parted by spaces alone: quotes do not hold them together."""
    return [Word(found.group(), found.start()) for found in re.compile(r"[^\t\v\f\r ]+").finditer(text, at)]


def split_pairs(text: str, at: int, escape: str) -> list[Pair]:
    """`name=value …`, or the old `name value`, told apart by the first word. Raises Fault."""
    words = split_words(text, at, escape)
    if words and "=" not in words[0].text:
        name, space, value = text[at:].partition(found.group() if (found := _WHITE.search(text, at)) else " ")
        if not space:
            raise Fault(f"{name} has no value", f"write {name}=VALUE", at)
        return [Pair(name, value, True, at)]
    pairs = []
    for word in words:
        name, equals, value = word.text.partition("=")
        if not equals:
            raise Fault(f"{word.text} has no =", "write NAME=VALUE, and quotes around a value with spaces", word.offset)
        if not name:
            raise Fault(f"{word.text} has no name", "write NAME=VALUE", word.offset)
        pairs.append(Pair(name, value, False, word.offset))
    return pairs


def read_json(text: str, at: int) -> list[Word] | None:
    """The strings of a JSON array; None if it is none. Raises Fault for an array of something else."""
    rest = text[at:]
    if not rest.startswith("["):
        return None
    try:
        values = json.loads(rest, parse_constant=_refuse_constant)
    except RecursionError:
        values = [None]
    except ValueError:
        return None
    if not all(isinstance(value, str) for value in values):
        raise Fault("the JSON array holds something that is no string", 'write ["program", "argument"]', at)
    return [Word(_SURROGATES.sub("\ufffd", value), at) for value in values]


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
