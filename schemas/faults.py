"""How a spec model reports what is wrong with several of its fields at once, each at its own place.

Pydantic keeps the place of a fault found in one field. What only shows when fields are seen together, or items of a
list before they are models, is raised through here as pydantic's own error, whose places pydantic prefixes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

T = TypeVar("T")
Fault = tuple[tuple[str | int, ...], str]
"""Where, relative to the model, and what is wrong; what to write instead."""


def refuse(title: str, faults: Iterable[Fault]) -> None:
    """Raise pydantic's ValidationError with all `faults`; do nothing if there is none."""
    details = [
        InitErrorDetails(type=PydanticCustomError("refused", "{text}", {"text": text}), loc=place, input=None)
        for place, text in faults
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)


def collect(title: str, items: Sequence[Any], read: Callable[[Any], T]) -> list[T]:
    """`read` of every item; raises one ValidationError with the index of each that `read` refuses."""
    found: list[T] = []
    faults: list[Fault] = []
    for index, item in enumerate(items):
        try:
            found.append(read(item))
        except ValueError as error:
            faults.append(((index,), str(error)))
    refuse(title, faults)
    return found
