"""Rules for a Source: it is noted, and the daemon follows it. Nothing stands on the machine for it by itself.

Pure. What it needs are the Secrets it reads and the sources it waits for, so that neither is taken from under it.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.actions import Effect
from reconciler.desired import Desired
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.names import Key, Kind
from schemas.source import SourceSpec

RULES = Rules(Kind.SOURCE, most=Effect.LIVE)
NOTE = "is followed by the daemon, while it runs (trimtab daemon)"


def desire(item: Declared) -> Desired:
    """A Source: no facts, since nothing of it is on the machine."""
    assert isinstance(item.spec, SourceSpec)
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(item.spec)},
        facts={},
        needs=tuple(sorted(set(_needs(item.spec)))),
        declared=item,
        notes=(NOTE,),
    )


def _needs(spec: SourceSpec) -> Iterator[Key]:
    held = (spec.decrypt, spec.webhook)
    names = (spec.git.secret if spec.git is not None else None, *(each.secret for each in held if each is not None))
    yield from (Key(Kind.SECRET, name) for name in names if name is not None)
    yield from (Key(Kind.SOURCE, name) for name in spec.depends_on)
