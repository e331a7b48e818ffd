"""From the text of manifests to declared objects, or to every problem in them at once.

Pure: text and environment in, objects out; reading files is the sources' work. A text is read as YAML, its variables
are replaced, the envelope is checked, the spec goes through its kind's model. What is found across objects
(duplicates, dangling references, conflicts) is `check`'s. Called by every source and by the API.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from schemas.compose import is_compose, read_compose
from schemas.envelope import Declared, Origin
from schemas.errors import Invalid, Place, Problem
from schemas.interpolate import interpolate
from schemas.manifest import Manifest, read_manifests
from schemas.names import Kind
from schemas.source_text import Text
from schemas.yaml_text import Fault, Substitute, read_documents

if TYPE_CHECKING:
    from pydantic import BaseModel


MOST = 1000
"""Problems of one text that are told."""
Outcome = Declared | Problem
__all__ = ["Outcome", "Text", "load", "load_with", "read_text", "settle", "substitution"]


def load(
    sources: Sequence[Text], environment: Mapping[str, str], *, set: str = "", commit: str = ""
) -> tuple[Declared, ...]:
    """Every object that `sources` declare, in the order of files and lines.

    `set` and `commit` become part of each object's origin. Raises Invalid with all problems of all sources.
    """
    from schemas.spec_models import SPEC_MODELS

    return load_with(SPEC_MODELS, sources, environment, set=set, commit=commit)


def load_with(
    models: Mapping[Kind, type[BaseModel]],
    sources: Iterable[Text],
    environment: Mapping[str, str],
    *,
    set: str = "",
    commit: str = "",
) -> tuple[Declared, ...]:
    """`load` with the given model for each kind."""
    outcomes = [outcome for source in sources for outcome in read_text(models, source, environment)]
    return settle(outcomes, set=set, commit=commit)


def settle(outcomes: Iterable[Outcome], *, set: str, commit: str) -> tuple[Declared, ...]:
    """The objects among what was read, each with its origin; raises Invalid if there is any problem among it."""
    declared: list[Declared] = []
    problems: list[Problem] = []
    for outcome in outcomes:
        if isinstance(outcome, Problem):
            problems.append(outcome)
        else:
            declared.append(come_from(outcome, set, commit))
    if problems:
        raise Invalid(problems)
    return tuple(sorted(declared, key=Declared.place))


def come_from(declared: Declared, set: str, commit: str) -> Declared:
    """The same object with its origin; the very same where it has that already."""
    origin = declared.origin
    if (origin.set, origin.commit) == (set, commit):
        return declared
    return replace(declared, origin=replace(origin, set=set, commit=commit))


def read_text(
    models: Mapping[Kind, type[BaseModel]], source: Text, environment: Mapping[str, str]
) -> Iterator[Outcome]:
    """What one text declares, and what is wrong with it. After `MOST` problems nothing more is read of it."""
    told = 0
    for outcome in _read_all(models, source, environment):
        yield outcome
        told += isinstance(outcome, Problem)
        if told == MOST:
            place = Place(source.name, 1, 1)
            yield Problem(place, "", "", f"has more than {MOST} problems, and not all are told", "mend those first")
            return


def _read_all(
    models: Mapping[Kind, type[BaseModel]], source: Text, environment: Mapping[str, str]
) -> Iterator[Outcome]:
    documents, problems = read_documents(source.name, source.text, substitution(environment))
    yield from problems
    for document in documents:
        unread: set[int] = set()
        if is_compose(document.value):
            # fields get other names on the way: what follows from an unread value is told by its line
            unread = {problem.place.line for problem in document.problems}
            manifests = read_compose(source.name, document, environment)
        else:
            manifests = read_manifests(source.name, document)
        for manifest in manifests:
            yield from manifest.problems
            if manifest.key is not None:
                outcomes = _declare(models[manifest.key.kind], manifest, environment)
                yield from (each for each in outcomes if not (isinstance(each, Problem) and each.place.line in unread))


def _declare(model: type[BaseModel], manifest: Manifest, environment: Mapping[str, str]) -> Iterator[Outcome]:
    from pydantic import ValidationError

    from schemas.spec_errors import explain_spec

    assert manifest.key is not None
    try:
        spec = model.model_validate(manifest.spec, context={"environment": environment})
    except ValidationError as error:
        known = [problem.field for problem in manifest.problems if problem.field]
        yield from (each for each in explain_spec(model, manifest, error) if not _follows(each.field, known))
    else:
        origin = Origin(manifest.file, manifest.spot[0] + 1)
        yield Declared(manifest.key, manifest.metadata, spec, origin, manifest.spot, manifest.spec)


def _follows(field: str, known: Iterable[str]) -> bool:
    """Whether a problem of `field` may only come of one already known, of the field itself or of what holds it."""
    return any(field == each or field.startswith((f"{each}.", f"{each}[")) for each in known)


def substitution(environment: Mapping[str, str]) -> Substitute:
    """The function that replaces variables from `environment` in one scalar."""

    def substitute(text: str) -> tuple[str, tuple[Fault, ...]]:
        result = interpolate(text, environment)
        return result.text, result.faults

    return substitute
