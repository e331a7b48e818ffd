"""Make a volume as declared, or take it away; its data goes only where the manifest said `deletion_policy: delete`
and no other set has had it."""

from __future__ import annotations

from reconciler.actions import Action
from reconciler.desired import Desired, Observed
from reconciler.found_data import deletes_data
from reconciler.perform.context import Context
from reconciler.perform.placing import about
from reconciler.wanted.volumes import volume_wanted
from runtime.volumes.volume import ensure_volume, remove_volume
from schemas.names import Key
from schemas.volume import VolumeSpec


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    """Directory, mount and limit. Raises Refused, RetryLater."""
    assert want.declared is not None
    spec = want.declared.spec
    assert isinstance(spec, VolumeSpec)
    with about("spec", "driver_opts" if spec.driver_opts is not None else "size"):
        ensure_volume(context.engine.layout, volume_wanted(want.key.name, spec, context.set))


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """Its data only where the recorded `deletion_policy` says delete, and never another set's. Idempotent."""
    layout = context.engine.layout
    delete = deletes_data(layout, action, have, context.set)
    remove_volume(layout, key.name, delete_data=delete, let_go_by=context.set)
