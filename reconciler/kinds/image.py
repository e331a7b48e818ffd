"""Rules for an image: present and intact, from the source the manifest names.

Pure. An image is never taken away to change: the new one is put in its place, and what runs it is replaced.
"""

from __future__ import annotations

from reconciler.actions import Effect
from reconciler.desired import Desired
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.names import Kind

RULES = Rules(Kind.IMAGE, effects={"content": Effect.LIVE, "source": Effect.LIVE}, most=Effect.LIVE)


def desire(item: Declared) -> Desired:
    """`content`: every blob and layer is there. `source`: it is still what was made into the image."""
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(item.spec)},
        facts={"content": "intact", "source": "unchanged"},
        declared=item,
    )
