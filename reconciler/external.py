"""Objects declared `external: true`: they exist already, and are never made, changed or removed.

They are left out of what the set owns; whoever names one gets the object of the set that made it. A volume may also
stand on disk alone, kept from an earlier time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from runtime.layout import Layout
from runtime.volumes.volume import has_data
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem
from schemas.names import Key, Kind


def own_objects(
    declared: Iterable[Declared], others: Mapping[Key, Declared], exists: Callable[[Key], bool]
) -> list[Declared]:
    """What the set makes itself. Raises Invalid for each external object that is not there."""
    own: list[Declared] = []
    problems: list[Problem] = []
    for item in declared:
        if not getattr(item.spec, "external", False):
            own.append(item)
        elif item.key not in others and not exists(item.key):
            message = f"is external, and there is no {item.key} on this engine"
            remedy = "apply the set that makes it first, or leave external out"
            problems.append(item.problem(("spec", "external"), message, remedy))
    if problems:
        raise Invalid(problems)
    return own


def exists_on_disk(layout: Layout, key: Key) -> bool:
    """Whether a volume's files are there, whoever wanted them once."""
    return key.kind is Kind.VOLUME and has_data(layout, key.name)
