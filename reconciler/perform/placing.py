"""Which field of a manifest a failure is about, and where that stands: `web.yaml:14:9`.

Whoever knows the field says so with `about`, or in the error itself; `perform` looks up the place. Changes no outcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.desired import Desired
from schemas.errors import TrimtabError
from schemas.field_path import Path, format_path


@contextmanager
def about(*field: str | int) -> Iterator[None]:
    """What is raised within is about that field, unless it names another."""
    try:
        yield
    except TrimtabError as error:
        error.field = error.field or field
        raise


@contextmanager
def located(want: Desired) -> Iterator[None]:
    """Fill in the place of the field that an error is about, and name the field in place of the step."""
    try:
        yield
    except TrimtabError as error:
        if error.field and error.place is None:
            error.place = want.place_of(error.field)
            error.step = error.step if error.step.startswith("spec.") else format_path(error.field)
        raise


def written(want: Desired, *fields: str) -> Path:
    """The first of the fields that the manifest has, else the last: a command that it has not comes from the image."""
    spec = want.declared.spec if want.declared is not None else None
    return "spec", next((field for field in fields if getattr(spec, field, None)), fields[-1])
