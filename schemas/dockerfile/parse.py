"""Reads a Dockerfile: text in, stages of typed instructions out, or every problem with its place.

Called by the builder, by `trimtab image build` and by whoever checks a Dockerfile. Replaces no variable and looks at no
image: `evaluate` and `stages` go on from here.

Source: Dockerfile reference, "Format", "FROM".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from schemas.dockerfile.directives import CheckOptions, Directive, read_check_options
from schemas.dockerfile.faults import Fault, problem
from schemas.dockerfile.instructions import Arg, From, Instruction, Stage
from schemas.dockerfile.read_instruction import read_instruction
from schemas.dockerfile.statement import Divided, divide
from schemas.errors import Invalid, Place, Problem


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile. `arguments` are the ARGs before the first FROM; `empty` the empty lines inside continuations."""

    name: str
    lines: tuple[str, ...]
    escape: str
    directives: tuple[Directive, ...]
    check: CheckOptions
    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    empty: tuple[Place, ...] = ()

    def problem(self, instruction: Instruction, message: str, remedy: str = "") -> Problem:
        """A problem with one of its instructions, the line shown."""
        place = instruction.origin.place
        return problem(place, instruction.name, message, remedy, self.lines if place.file == self.name else ())


def parse(text: str, name: str) -> Dockerfile:
    """Read a Dockerfile, known to its author as `name`. Raises Invalid with every problem found."""
    divided = divide(text, name)
    problems = list(divided.problems)
    check = _check_options(divided, problems)
    found = _instructions(divided, problems)
    arguments, stages = _staged(divided, found, problems)
    if problems:
        raise Invalid(problems)
    empty = tuple(Place(name, statement.line.empty, 1) for statement in divided.statements if statement.line.empty)
    return Dockerfile(name, divided.lines, divided.escape, divided.directives, check, arguments, stages, empty)


def parse_trigger(expression: str, name: str) -> Instruction:
    """The instruction of an ONBUILD trigger, as an image's config keeps it. Raises Invalid."""
    divided = divide(expression, name)
    problems = list(divided.problems)
    found = _instructions(divided, problems)
    if not problems and (len(found) != 1 or isinstance(found[0], From)):
        problems = [Problem(Place(name, 1, 1), "ONBUILD", "", f"{expression!r} is not one instruction")]
    if problems:
        raise Invalid(problems)
    return found[0]


def _check_options(divided: Divided, problems: list[Problem]) -> CheckOptions:
    for directive in divided.directives:
        if directive.name == "check":
            try:
                return read_check_options(directive.value)
            except ValueError as error:
                problems.append(problem(directive.place, "check", str(error), "", divided.lines))
    return CheckOptions()


def _instructions(divided: Divided, problems: list[Problem]) -> list[Instruction]:
    found = []
    for statement in divided.statements:
        try:
            found.append(read_instruction(statement, divided.name))
        except Fault as fault:
            place = statement.line.place(divided.name, fault.offset)
            word = statement.word.text.upper()
            problems.append(problem(place, word, fault.message, fault.remedy, divided.lines))
    return found


def _staged(
    divided: Divided, found: list[Instruction], problems: list[Problem]
) -> tuple[tuple[Arg, ...], tuple[Stage, ...]]:
    """The ARGs before the first FROM, and the stages."""
    starts = [at for at, instruction in enumerate(found) if isinstance(instruction, From)]
    first = starts[0] if starts else len(found)
    arguments = tuple(instruction for instruction in found[:first] if isinstance(instruction, Arg))
    for instruction in found[:first]:
        # A FROM that could not be read is told already; what follows it is not at fault.
        if not isinstance(instruction, Arg) and not problems:
            place = instruction.origin.place
            message = f"{instruction.name} stands before the first FROM"
            problems.append(problem(place, instruction.name, message, "begin with FROM", divided.lines))
    if not starts and not problems:
        problems.append(Problem(Place(divided.name, 1, 1), "", "", "has no FROM", "begin with FROM"))
    stages = []
    for number, (start, end) in enumerate(pairwise([*starts, len(found)])):
        base = found[start]
        if isinstance(base, From):
            stages.append(Stage(number, base, tuple(found[start + 1 : end])))
    return arguments, tuple(stages)
