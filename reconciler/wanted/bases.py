"""Which images of a set are built from which others of it: what their Dockerfiles name in FROM, --from, and contexts.

Called by each pass before it resolves, so that a base is built first and who is built from it again. Reads Dockerfiles
on this machine; one that cannot be read or understood names nothing, and is told by its build. An argument's default
counts; what a trigger of a base names does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from schemas.build import BuildSpec
from schemas.envelope import Declared
from schemas.errors import Invalid, TrimtabError
from schemas.image import ImageSpec
from schemas.names import Key


def bases_of(own: Sequence[Declared]) -> dict[Key, frozenset[Key]]:
    """By image, those of the set that it names. Raises Invalid for images that are built from each other."""
    images = {item.key: item.spec for item in own if isinstance(item.spec, ImageSpec)}
    built = {key: spec.build for key, spec in images.items() if spec.build is not None}
    if not built:
        return {}
    known = _known(images)
    found = {key: _named(key, spec, known) for key, spec in built.items()}
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        raise _cycle(error.args[1], own) from None
    return found


def _known(images: Mapping[Key, ImageSpec]) -> dict[str, Key]:
    """Each by its name, as a reference, and by what its build is tagged."""
    from reconciler.build.bases import own_reference

    known = {text: key for key, spec in images.items() if spec.build is not None for text in spec.build.tags}
    return known | {own_reference(key.name): key for key in images}


def _named(key: Key, spec: BuildSpec, known: Mapping[str, Key]) -> frozenset[Key]:
    """An image that names itself means the one of that name elsewhere."""
    return frozenset(known[text] for text in _references(key.name, spec) if text in known) - {key}


def _references(name: str, spec: BuildSpec) -> Iterator[str]:
    from reconciler.build.build import read_named
    from reconciler.caller import caller
    from reconciler.wanted.builds import build_wanted

    try:
        yield from read_named(build_wanted(name, spec, caller().environment))
    except (TrimtabError, OSError, ValueError):
        return


def _cycle(keys: Sequence[Key], own: Iterable[Declared]) -> Invalid:
    items = {item.key: item for item in own}
    names = " and ".join(sorted({str(key) for key in keys}))
    place = ("spec", "build")
    return Invalid(
        [
            items[keys[0]].problem(
                place, f"{names} are built from each other", "let one of them begin with another image"
            )
        ]
    )
