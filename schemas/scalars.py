"""What a plain YAML scalar means: null, boolean, integer, float or text, as YAML 1.2's core schema says.

`no`, `on`, `yes`, `12:30`, `22:22` and `2024-01-01` are text; `0o17` is 15 and `0777` is 777. Called by `yaml_text`
for every scalar that is neither quoted nor tagged. A number whose spelling is not Python's own remembers it:
`str()` of it gives the text as written, so that `VERSION: 1.10` reaches an environment as `1.10`, and a file mode
written `0444` can still be told from `444`.

Source: YAML 1.2.2, section 10.3.2 (tag resolution of the core schema).
"""

from __future__ import annotations

import re

Scalar = None | bool | int | float | str

WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
LONGEST_NUMBER = 100
"""A longer run of digits is text: converting it would take quadratic time."""

_DECIMAL = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
NUMBER = re.compile(f"^(?:{_BASED.pattern}|{_FLOAT.pattern}|{_SPECIAL.pattern})$")
"""Every plain scalar that is a number."""


class WrittenInt(int):
    """An integer that remembers its spelling: `str(x)` is `0777` where `int(x)` is 777."""

    text: str

    def __str__(self) -> str:
        return self.text


class WrittenFloat(float):
    """A float that remembers its spelling: `str(x)` is `1.10` where `float(x)` is 1.1."""

    text: str

    def __str__(self) -> str:
        return self.text


def resolve(text: str) -> Scalar:
    """The value of a plain scalar. Text that is no null, boolean or number is returned as it is."""
    if text in WORDS:
        return WORDS[text]
    if text[0] not in "+-.0123456789" or len(text) > LONGEST_NUMBER:
        return text
    if _DECIMAL.fullmatch(text):
        return _integer(text, 10)
    if _BASED.fullmatch(text):
        return _integer(text, 0)
    if _FLOAT.fullmatch(text):
        return _float(text, text)
    if _SPECIAL.fullmatch(text):
        return _float(text, text.replace(".", "", 1))
    return text


def _integer(text: str, base: int) -> int:
    value = int(text, base)
    if str(value) == text:
        return value
    written = WrittenInt(value)
    written.text = text
    return written


def _float(text: str, spelled: str) -> float:
    value = float(spelled)
    if str(value) == text:
        return value
    written = WrittenFloat(value)
    written.text = text
    return written
