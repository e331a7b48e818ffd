"""Pydantic's errors in words: a message, and what to write instead.

Called by `spec_errors`. The models' own readers word their errors themselves (`message; remedy`) and are passed on;
this is for what pydantic finds by itself. Knows nothing of places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.nearest import suggest

WordedError = Mapping[str, Any]
"""One entry of `ValidationError.errors()`: type, msg, input, ctx."""

_NUMBER = "a whole number"
_TEXT = "text"
_LIST = "a list"
_MAP = "a map"

SHAPES = {
    "string_type": _TEXT,
    "int_type": _NUMBER,
    "int_parsing": _NUMBER,
    "int_parsing_size": _NUMBER,
    "int_from_float": _NUMBER,
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _MAP,
    "mapping_type": _MAP,
    "model_type": _MAP,
    "model_attributes_type": _MAP,
    "dataclass_type": _MAP,
    "none_required": "nothing",
}
"""Errors that say the value has another shape than the field."""

_WRITE = {
    _TEXT: "write text, in quotes if it looks like a number",
    _NUMBER: "write digits alone",
    _LIST: "write each item on a line that begins with `- `",
    _MAP: "write `name: value` lines below it",
    "true or false": "write true or false",
}
_BOUNDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda ctx: f"more than {ctx['gt']:g}",
    "greater_than_equal": lambda ctx: f"at least {ctx['ge']:g}",
    "less_than": lambda ctx: f"less than {ctx['lt']:g}",
    "less_than_equal": lambda ctx: f"at most {ctx['le']:g}",
    "multiple_of": lambda ctx: f"a multiple of {ctx['multiple_of']}",
    "string_too_short": lambda ctx: f"at least {ctx['min_length']} characters long",
    "string_too_long": lambda ctx: f"at most {ctx['max_length']} characters long",
    "too_short": lambda ctx: f"at least {ctx['min_length']} long",
    "too_long": lambda ctx: f"at most {ctx['max_length']} long",
}


def describe(error: WordedError) -> tuple[str, str]:
    """Message and remedy of one error."""
    kind, value, context = str(error["type"]), error.get("input"), error.get("ctx") or {}
    if kind in SHAPES:
        return describe_shape(value, [SHAPES[kind]])
    if kind in _BOUNDS:
        bound = _BOUNDS[kind](context)
        return f"{shown(value)} is out of range", f"it must be {bound}"
    if kind in ("literal_error", "enum"):
        return _describe_choice(value, str(context["expected"]))
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} has the wrong form", f"it must match {context['pattern']}"
    message, _, remedy = (
        str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ").partition("; ")
    )
    return message, remedy


def describe_shape(value: Any, shapes: Sequence[str]) -> tuple[str, str]:
    """A value that is none of `shapes`."""
    words = _either(shapes)
    if value is None:
        return "has no value", f"write {words}, or remove the line"
    remedy = _WRITE[shapes[0]] if len(shapes) == 1 and shapes[0] in _WRITE else f"write {words}"
    if isinstance(value, dict | list):
        return f"is {_MAP if isinstance(value, dict) else _LIST}, not {words}", remedy
    return f"{shown(value)} is not {words}", remedy


def not_a_map(value: Any) -> str:
    """The message for a value that should be a map."""
    return describe_shape(value, [_MAP])[0]


def shown(value: Any) -> str:
    """A value as its author would recognise it, at most 60 characters."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return _MAP if isinstance(value, dict) else _LIST
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _describe_choice(value: Any, expected: str) -> tuple[str, str]:
    words = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]
    choices = f"write {_either(words)}"
    return f"{shown(value)} is not known here", suggest(str(value), words, otherwise=choices)


def _either(words: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(words))
    return distinct[0] if len(distinct) == 1 else f"{', '.join(distinct[:-1])} or {distinct[-1]}"
