"""What pydantic says about a spec, said to the manifest's author: one place, one sentence, one remedy.

Called by `load`. Pydantic names a place by the way it took through the model, union branches included; here that is
traced back to what was written. A union that fails gives one problem, not one for each branch: those of the branch
whose shape fits, or a list of what would have been right. The value of a Secret is never repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.errors import Place, Problem
from schemas.field_path import Path, format_path
from schemas.foreign import FIELDS, TEXT_FIELDS
from schemas.manifest import Manifest
from schemas.metadata import FIELDS as METADATA_FIELDS
from schemas.model_names import deeper_with, names_at
from schemas.names import Kind
from schemas.nearest import nearest
from schemas.spec_words import SHAPES, describe, describe_shape, shown
from schemas.yaml_text import find_spot

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

MISSING = "missing"
UNKNOWN = "extra_forbidden"
MAX_PROBLEMS = 200
"""Problems of one spec that are told: finding the right names for more would take its time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of pydantic: its place in the input, the value there, and the way through the model beyond that.

    `shapes`: set where a union failed as a whole; what would have been right.
    """

    path: Path
    value: Any
    rest: Path
    error: Any
    shapes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return str(self.error["type"])


def explain_spec(model: type[BaseModel], manifest: Manifest, error: ValidationError) -> Iterator[Problem]:
    """The problems of one spec that its model refused."""
    errors = error.errors(include_url=False)
    if len(errors) > MAX_PROBLEMS:
        more = f"has {len(errors) - MAX_PROBLEMS} problems more than those told"
        yield Problem(_place(manifest, ()), str(manifest.key), "spec", more, "mend those first")
    faults = list(_collapse(_trace(manifest.spec, (), tuple(each["loc"]), each) for each in errors[:MAX_PROBLEMS]))
    misspelled = {_meant(model, fault.path) for fault in faults if fault.kind == UNKNOWN}
    for fault in faults:
        if fault.kind != MISSING or (*fault.path, *fault.rest) not in misspelled:
            yield _problem(model, manifest, fault)


def _meant(model: type[BaseModel], path: Path) -> Path:
    """The path of the field that a misspelled one most likely meant, whose absence needs no mention then."""
    found = nearest(str(path[-1]), names_at(model, path[:-1])) if path else None
    return (*path[:-1], found) if found else path


def _trace(value: Any, path: Path, way: Path, error: Any) -> Fault:
    """Follow `way` through the input as far as it leads."""
    for count, step in enumerate(way):
        if not _leads(value, step):
            return Fault(path, value, way[count:], error)
        path, value = (*path, step), value[step]
    return Fault(path, value, (), error)


def _leads(value: Any, step: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and 0 <= step < len(value)
    return isinstance(value, dict) and step in value


def _collapse(faults: Iterable[Fault]) -> Iterator[Fault]:
    """The faults that matter: of those at a union, its best branch only."""
    unions: dict[Path, list[Fault]] = {}
    for fault in faults:
        if len(fault.rest) > (fault.kind == MISSING):
            unions.setdefault(fault.path, []).append(fault)
        else:
            yield fault
    for several in unions.values():
        yield from _best_branch(several)


def _best_branch(faults: Sequence[Fault]) -> Iterator[Fault]:
    """Of faults at one place, grouped by the branch they come from: those of the best branch, or one for all."""
    path, value = faults[0].path, faults[0].value
    branches: dict[str | int, list[Fault]] = {}
    for fault in faults:
        branches.setdefault(fault.rest[0], []).append(_trace(value, path, fault.rest[1:], fault.error))
    fitting = [branch for branch in branches.values() if not any(_misshapen(each, path) for each in branch)]
    if fitting or len(branches) == 1:
        yield from _collapse(min(fitting or branches.values(), key=lambda branch: len(branch)))
        return
    shapes = tuple(SHAPES[each.kind] for branch in branches.values() for each in branch if each.kind in SHAPES)
    yield Fault(path, value, (), faults[0].error, shapes)


def _misshapen(fault: Fault, path: Path) -> bool:
    return fault.path == path and not fault.rest and fault.kind in SHAPES


def _problem(model: type[BaseModel], manifest: Manifest, fault: Fault) -> Problem:
    path = fault.path
    if fault.kind == MISSING:
        path = (*path, *fault.rest)
        message, remedy = "is missing", f"add `{path[-1]}:`"
    elif fault.kind == UNKNOWN and path:
        message, remedy = "is not a field here", _right_name(model, manifest, path)
    elif fault.shapes:
        message, remedy = describe_shape(fault.value, fault.shapes)
    else:
        message, remedy = describe(fault.error)
    if isinstance(fault.value, str) and path and (meant := TEXT_FIELDS.get(str(path[-1]))):
        message, remedy = "is a map", f"write {meant}: {fault.value}"
    if manifest.key is not None and manifest.key.kind is Kind.SECRET:
        message = _without(message, fault.value)
    return Problem(_place(manifest, path), str(manifest.key), format_path(("spec", *path)), message, remedy)


def _place(manifest: Manifest, path: Path) -> Place:
    line, column = find_spot(manifest.spot, ("spec", *path))
    return Place(manifest.file, line + 1, column + 1)


def _right_name(model: type[BaseModel], manifest: Manifest, path: Path) -> str:
    name = str(path[-1])
    deeper = deeper_with(model, name) if len(path) == 1 else None
    if len(path) == 1 and deeper is None and manifest.key and name in (foreign := FIELDS.get(manifest.key.kind, {})):
        return foreign[name]
    known = names_at(model, path[:-1])
    found = nearest(name, known)
    if found is not None:
        return f"did you mean {found}?"
    if len(path) == 1 and name in METADATA_FIELDS:
        return f"write it below metadata, as metadata.{name}"
    if deeper is not None:
        return f"write it below {deeper.rpartition('.')[0]}, as {deeper}"
    if len(path) > 1 and name in names_at(model, ()):
        return "indent it less: it is a field of the spec itself"
    kind = manifest.key.kind.value.lower() if manifest.key else ""
    where = ".".join(str(step) for step in (kind, *path[:-1]) if not isinstance(step, int))
    return f"`trimtab explain {where}` lists them" if len(known) > 8 else f"known here: {', '.join(known)}"


def _without(message: str, value: Any) -> str:
    """The message with the value it repeats struck out. What is not in quotes is our own word."""
    if isinstance(value, dict | list):
        return message
    return message.replace(repr(str(value)), "the value").replace(shown(str(value)), "the value")
