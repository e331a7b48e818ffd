"""What a manifest may say and is stored, and nothing acts on yet: told, so that nobody relies on it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.actions import Note
from schemas.deploy import NOT_ACTED_ON
from schemas.envelope import Declared
from schemas.service import ServiceSpec


def notes_on_rollouts(declared: Iterable[Declared]) -> Iterator[Note]:
    """One for each Service that says how its replicas are to be replaced or taken back."""
    for item in declared:
        if not isinstance(item.spec, ServiceSpec):
            continue
        said = {"update_config": item.spec.deploy.update_config, "rollback_config": item.spec.deploy.rollback_config}
        fields = [f"spec.deploy.{name}" for name, value in said.items() if value is not None]
        if fields:
            yield Note(item.key, f"{' and '.join(fields)}: {NOT_ACTED_ON}")
