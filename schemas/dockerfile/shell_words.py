"""Variables, quotes and escapes in a word, as BuildKit's shell lexer takes them.

`$x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w} ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}`; single and
double quotes; the escape character of the file. A variable that is not set is empty, and named in the result so that
the checks can tell. The result is given twice: as one text, and as words parted at spaces outside quotes.

Called by `evaluate` for the instructions that take variables, and by the reader of heredocs. RUN's own shell is never
imitated: its text is left alone.

Source: Dockerfile reference, "Environment replacement"; POSIX, Shell Command Language, 2.2 and 2.6.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.dockerfile import shell_pattern

DEEPEST = 64
"""How far `${a:-${b:-…}}` may nest."""
LONGEST = 4 * 1024 * 1024
"""Characters of a result: more is a value that doubles itself."""

_SPACES = "\t\n\v\f\r \x85\xa0"
_SPECIAL = "@*#?-$!0"
_ERRORS = {False: "is not set", True: "is empty or not set"}

Piece = tuple[str, bool]
"""Text, and whether words part at its spaces."""


class Unexpandable(ValueError):
    """The word cannot be expanded; the text says why."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """A word with its variables replaced; the same parted into words; which variables were found and which were not."""

    text: str
    words: tuple[str, ...]
    matched: frozenset[str]
    unset: frozenset[str]


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays in the text as it was written."""

    quotes: bool = False
    escapes: bool = False
    unset: bool = False
    quotes_are_plain: bool = False
    """Quotes have no meaning at all: the text of a heredoc."""


NOTHING = Keep()


def is_space(char: str) -> bool:
    """White space as Unicode has it, without the information separators that Python adds."""
    return char in _SPACES or (char > "\xff" and char.isspace())


def expand(word: str, variables: Mapping[str, str], escape: str = "\\", keep: Keep = NOTHING) -> Expansion:
    """Replace variables, take quotes and escapes away. Raises Unexpandable."""
    lexer = _Lexer(word, variables, escape, keep)
    pieces = lexer.read_until("", keep.escapes)
    text = "".join(piece for piece, _ in pieces)
    return Expansion(text, tuple(_words(pieces)), frozenset(lexer.matched), frozenset(lexer.unset))


def _words(pieces: list[Piece]) -> list[str]:
    words: list[str] = []
    word = ""
    for text, parts in pieces:
        if not parts:
            word += text
            continue
        for char in text:
            if not is_space(char):
                word += char
            elif word:
                words.append(word)
                word = ""
    return [*words, word] if word else words


class _Lexer:
    """One pass over a word. `at` is the next character to read."""

    __slots__ = ("at", "depth", "escape", "keep", "keeps_escapes", "length", "matched", "text", "unset", "variables")

    def __init__(self, text: str, variables: Mapping[str, str], escape: str, keep: Keep) -> None:
        self.text = text
        self.variables = variables
        self.escape = escape
        self.keep = keep
        self.keeps_escapes = keep.escapes
        self.at = 0
        self.depth = 0
        self.length = 0
        self.matched: set[str] = set()
        self.unset: set[str] = set()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def read_until(self, stop: str, keep_escapes: bool) -> list[Piece]:
        """Pieces up to `stop`, which is passed; up to the end if there is no stop."""
        before, self.keeps_escapes = self.keeps_escapes, keep_escapes
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unexpandable(f"substitutions nest deeper than {DEEPEST}")
        pieces: list[Piece] = []
        while (char := self.peek()) and char != stop:
            pieces.append(self._piece(char))
            self.length += len(pieces[-1][0])
            if self.length > LONGEST:
                raise Unexpandable(f"the value grows beyond {LONGEST} characters")
        if stop and not char:
            raise Unexpandable(f"{stop} is missing")
        self.at += len(stop)
        self.depth -= 1
        self.keeps_escapes = before
        return pieces

    def read_text(self, stop: str, keep_escapes: bool) -> str:
        return "".join(piece for piece, _ in self.read_until(stop, keep_escapes))

    def _piece(self, char: str) -> Piece:
        if char == "$":
            return self._dollar(), True
        if char == "<":
            return self._angle(), False
        if char == "'" and not self.keep.quotes_are_plain:
            return self._single_quoted(), False
        if char == '"' and not self.keep.quotes_are_plain:
            return self._double_quoted(), False
        if self.take() != self.escape:
            return char, True
        # An escape that ends the word escapes nothing and goes.
        return (char if self.keeps_escapes else "") + self.take(), False

    def _angle(self) -> str:
        """`<`; or `<<` with the spaces that may stand before a heredoc's name, which belong to its word."""
        self.at += 1
        if self.peek() != "<":
            return "<"
        start, self.at = self.at, self.at + 1
        while self.peek() and self.peek() in "\t\r ":
            self.at += 1
        return "<" + self.text[start : self.at]

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise Unexpandable("the closing single quote is missing")
        inside = self.text[self.at + 1 : end]
        self.at = end + 1
        return f"'{inside}'" if self.keep.quotes else inside

    def _double_quoted(self) -> str:
        quote = '"' if self.keep.quotes else ""
        parts = [quote]
        self.at += 1
        while (char := self.peek()) != '"':
            if not char:
                raise Unexpandable("the closing double quote is missing")
            parts.append(self._dollar() if char == "$" else self._in_double_quotes())
        self.at += 1
        return "".join([*parts, quote])

    def _in_double_quotes(self) -> str:
        char = self.take()
        if char != self.escape:
            return char
        kept = char if self.keeps_escapes else ""
        if not self.peek():
            return kept
        return kept + (self.take() if self.peek() in ('"', "$", self.escape) else char)

    def _dollar(self) -> str:
        self.at += 1
        if self.peek() == "{":
            self.at += 1
            return self._braced()
        name = self._name()
        if not name:
            return "$"
        value = self._value(name)
        return f"${name}" if value is None and self.keep.unset else value or ""

    def _name(self) -> str:
        """Letters, digits and underscores; or digits alone; or one special parameter."""
        start = self.at
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.at += 1
        elif first and first in _SPECIAL:
            self.at += 1
        else:
            while self.peek() == "_" or self.peek().isalpha() or self.peek().isdecimal():
                self.at += 1
        return self.text[start : self.at]

    def _value(self, name: str) -> str | None:
        value = self.variables.get(name)
        (self.unset if value is None else self.matched).add(name)
        return value

    def _braced(self) -> str:
        if self.peek() in ("{", "}", ":"):
            raise Unexpandable(f"${{{self.peek()} names no variable")
        if not self.peek():
            raise Unexpandable("} is missing")
        name = self._name()
        modifier = self.take()
        if modifier == "}":
            value = self._value(name)
            return f"${{{name}}}" if value is None and self.keep.unset else value or ""
        if modifier == "/" and name:
            return self._replaced(name)
        if modifier == ":":
            modifier += self.take()
        if modifier in ("#", "%") and name:
            return self._trimmed(name, modifier)
        if modifier in (":-", ":+", ":?", "-", "+", "?") and name:
            return self._chosen(name, modifier)
        if not modifier:
            raise Unexpandable("} is missing")
        raise Unexpandable(f"${{{name}{modifier} is no substitution that Dockerfiles know")

    def _chosen(self, name: str, modifier: str) -> str:
        """`:-` and `-`, `:+` and `+`, `:?` and `?`: with the colon, empty counts as not set."""
        word = self.read_text("}", False)
        value = self._value(name)
        if value is None and self.keep.unset:
            return f"${{{name}{modifier}{word}}}"
        missing = value is None or (modifier[0] == ":" and not value)
        if modifier[-1] == "-":
            return word if missing else value or ""
        if modifier[-1] == "+":
            return "" if missing else word
        if missing:
            raise Unexpandable(f"{name}: {word or _ERRORS[modifier[0] == ':']}")
        return value or ""

    def _trimmed(self, name: str, modifier: str) -> str:
        pattern = self.read_text("}", True)
        value = self._value(name)
        if value is None and self.keep.unset:
            return f"${{{name}{modifier}{pattern}}}"
        longest = pattern.startswith(modifier)
        tokens = _pattern(pattern[1:] if longest else pattern)
        trim = shell_pattern.trim_start if modifier == "#" else shell_pattern.trim_end
        return trim(value or "", tokens, longest=longest)

    def _replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        self.at += everywhere
        pattern = self.read_text("/", True)
        replacement = self.read_text("}", True)
        value = self._value(name)
        if value is None and self.keep.unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        return shell_pattern.replace(value or "", _pattern(pattern), replacement, everywhere=everywhere)


def _pattern(pattern: str) -> shell_pattern.Tokens:
    try:
        return shell_pattern.read_pattern(pattern)
    except ValueError as error:
        raise Unexpandable(str(error)) from None
