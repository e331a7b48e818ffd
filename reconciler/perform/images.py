"""Bring an image, or take its record away. Its layers stay while another image or a container names them."""

from __future__ import annotations

from reconciler.actions import Action
from reconciler.desired import Desired, Observed
from reconciler.perform.context import Context
from reconciler.wanted.images import image_wanted
from runtime.images.ensure import ensure_image
from runtime.images.store import remove_image
from schemas.image import ImageSpec
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    assert want.declared is not None
    spec = want.declared.spec
    assert isinstance(spec, ImageSpec)
    wanted = image_wanted(want.key.name, spec)
    ensure_image(context.engine.layout, wanted, context.registries, context.progress)


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    remove_image(context.engine.layout, key.name)
