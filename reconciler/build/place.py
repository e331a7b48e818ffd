"""Gives what goes wrong in a step the place of its instruction. Called by the solver."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.build.select import MissingSource
from reconciler.build.steps import Step
from schemas.dockerfile.faults import problem
from schemas.dockerfile.parse import Dockerfile
from schemas.errors import Invalid, RetryLater, TrimtabError


@dataclass(frozen=True, slots=True)
class At:
    """Gives what goes wrong the place of the step's instruction, its line shown."""

    dockerfile: Dockerfile
    step: Step

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MissingSource):
            remedy = f"did you mean {error.meant}?" if error.meant else "it may be left out by .dockerignore"
            raise self._invalid(f"{error.path} is not there", remedy) from None
        if isinstance(error, ValueError):
            raise self._invalid(str(error), "") from error
        if isinstance(error, TrimtabError) and not isinstance(error, Invalid):
            hint = error.hint
            text = str(error) if not hint else str(error).removesuffix(f"; {hint}")
            if isinstance(error, RetryLater):
                raise RetryLater(f"{self.step.place}: {text}", hint=hint) from error
            raise self._invalid(text, hint) from error

    def _invalid(self, message: str, remedy: str) -> Invalid:
        place = self.step.place
        lines = self.dockerfile.lines if place.file == self.dockerfile.name else ()
        word = self.step.title.partition("] ")[2].partition(" ")[0]
        return Invalid([problem(place, word, message, remedy, lines)])
