"""Rules for a Secret or Config: its content stands on the engine's tmpfs.

Pure, and blind: only keyed digests of contents are compared, never contents.
"""

from __future__ import annotations

from reconciler.actions import Effect
from reconciler.desired import Desired
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.names import Kind

SECRET_RULES = Rules(Kind.SECRET, effects={"content": Effect.LIVE}, most=Effect.LIVE)
CONFIG_RULES = Rules(Kind.CONFIG, effects={"content": Effect.LIVE}, most=Effect.LIVE)


def desire(item: Declared, digest: str) -> Desired:
    """A Secret or Config. `digest`: the keyed digest of its content."""
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(item.spec, without={"content"})},
        facts={"content": digest},
        declared=item,
        secret=item.key.kind is Kind.SECRET,
    )
