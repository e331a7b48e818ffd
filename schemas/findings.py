"""Collects what is wrong with one document, each at the place where it was written.

Made by `manifest` and `compose` for every document they read; handed to whatever checks a part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from schemas.errors import Place, Problem
from schemas.field_path import Path, format_path
from schemas.yaml_text import Spot, find_spot

MOST = 500
UNREADABLE = "its text or a variable in it cannot be read"
UNREADABLE_REMEDY = "set its variables in the environment or with --env-file; $$ is a dollar sign"


def without_values(problems: Iterable[Problem], below: str) -> tuple[Problem, ...]:
    """Problems of the YAML, in words that repeat nothing of what stands below the field `below`: it is secret."""
    return tuple(
        replace(problem, message=UNREADABLE, remedy=UNREADABLE_REMEDY) if _is_value(problem, below) else problem
        for problem in problems
    )


def _is_value(problem: Problem, below: str) -> bool:
    if problem.field == below:
        return not problem.message.startswith("the key")
    return problem.field.startswith((f"{below}.", f"{below}["))


@dataclass(slots=True)
class Findings:
    """At most `MOST` problems of the document in `file` whose values stand at `spot`, in the order they were found."""

    file: str
    spot: Spot
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Where the value at `path` is, or its nearest parent that was written."""
        line, column = find_spot(self.spot, path)
        return Place(self.file, line + 1, column + 1)

    def refuse(self, path: Path, message: str, remedy: str) -> None:
        """Note a problem of the value at `path`, unless there are many already."""
        if len(self.problems) < MOST:
            self.problems.append(Problem(self.place(path), "", format_path(path), message, remedy))

    def named(self, name: str) -> tuple[Problem, ...]:
        """The problems, as problems of the object called `name`."""
        return tuple(replace(problem, object=problem.object or name) for problem in self.problems)
