"""Bring an image, or take its record away. Its layers stay while another image or a container names them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from reconciler.actions import Action
from reconciler.build.cache import kept
from reconciler.desired import Desired, Observed
from reconciler.perform.bundles import read_config
from reconciler.perform.context import Context
from reconciler.wanted.images import image_wanted
from runtime.images.collect import collect
from runtime.images.ensure import ensure_image
from runtime.images.store import remove_image
from runtime.layout import Layout
from schemas.image import ImageSpec
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    """Bring what the manifest names. Raises Refused, RetryLater."""
    assert want.declared is not None
    spec = want.declared.spec
    assert isinstance(spec, ImageSpec)
    wanted = image_wanted(want.key.name, spec)
    ensure_image(context.engine.layout, wanted, context.registries, context.progress)


def collect_unused(layout: Layout) -> None:
    """Free the blobs and layers that no image, no container's root and no build's cache needs. Raises Refused."""
    collect(layout, kept(layout).union(standing_layers(layout)))


def standing_layers(layout: Layout) -> Iterator[str]:
    """The diffID of every layer that a bundle names: a container keeps its root when its image goes."""
    for bundle in (layout.root / "containers").glob("*"):
        made = read_config(bundle) or {}
        rootfs = json.loads(made.get("annotations", {}).get("trimtab/rootfs", "{}"))
        trees = [rootfs.get("lower", []), *(entry.get("layers", []) for entry in made.get("mounts", ()))]
        for place in (Path(path) for tree in trees for path in tree):
            if place.is_relative_to(layout.layers):
                algorithm, _, encoded = place.relative_to(layout.layers).parts[0].rpartition("-")
                yield f"{algorithm or 'sha256'}:{encoded}"


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """Its record alone; `collect_unused` frees the rest. Idempotent."""
    remove_image(context.engine.layout, key.name)
