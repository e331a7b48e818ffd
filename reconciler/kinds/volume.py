"""Rules for a volume: there, mounted as the manifest says, of the size it says. Its data outlives every change.

Pure. No change of a volume replaces it: a changed mount is mounted anew, the data of a plain volume stays.
"""

from __future__ import annotations

from reconciler.actions import Effect
from reconciler.desired import Desired
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.names import Kind
from schemas.volume import VolumeSpec

RULES = Rules(Kind.VOLUME, effects={"data": Effect.LIVE, "mount": Effect.LIVE, "size": Effect.LIVE}, most=Effect.LIVE)


def desire(item: Declared) -> Desired:
    """A Volume; sizes in bytes."""
    spec = item.spec
    assert isinstance(spec, VolumeSpec)
    facts: dict[str, object] = {"data": "present"}
    if spec.driver_opts:
        facts["mount"] = "mounted"
    if spec.size is not None:
        facts["size"] = spec.size
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(spec)},
        facts=facts,
        declared=item,
    )
