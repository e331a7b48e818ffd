"""The work of `trimtab image rm`: refused for an image that a container stands on or a set declares."""

from __future__ import annotations

from collections.abc import Sequence

import click

from reconciler.build.cache import kept
from reconciler.cli.disk_usage import read_standing
from reconciler.cli.image.names import image_named
from reconciler.cli.quantities import size_text
from reconciler.cli.seen import Known, read_known
from reconciler.engine import open_engine
from reconciler.lock import engine_lock
from runtime.images.collect import collect
from runtime.images.layers import layer_path, list_layers
from runtime.images.record import ImageRecord
from runtime.images.store import remove_image
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import Key, Kind

LOCK_SECONDS = 30.0


def remove(layout: Layout, names: Sequence[str], *, force: bool = False) -> None:
    """All of them or none. Raises Refused naming who uses one, RetryLater while another trimtab works."""
    with engine_lock(layout.lock, LOCK_SECONDS), open_engine(layout) as engine:
        known = read_known(engine)
        images = [image_named(layout, name) for name in names]
        for image in images if not force else ():
            _refuse_used(image, known)
        for image in images:
            remove_image(layout, image.name)
            click.echo(f"- Image/{image.name} removed")
        collected = collect(layout, standing_layers(layout))
    click.echo(f"{size_text(collected.bytes)} of layers and blobs freed.")


def _refuse_used(image: ImageRecord, known: Known) -> None:
    key = Key(Kind.IMAGE, image.name)
    users = known.users(key)
    if users:
        told = ", ".join(map(str, users))
        raise Refused(f"{key} is used by {told}", step="remove", hint="delete that first, or give --force")
    entry = known.inventory.get(key)
    if entry is not None:
        hint = f"remove it there and `trimtab apply --prune`, or `trimtab delete --set {entry.set}`"
        raise Refused(f"{key} is declared by the set {entry.set} ({entry.file}:{entry.line})", step="remove", hint=hint)


def standing_layers(layout: Layout) -> frozenset[str]:
    """Digests of the layers that containers are mounted from, whatever the images say by now; and that builds keep."""
    return kept(layout) | mounted_layers(layout)


def mounted_layers(layout: Layout) -> frozenset[str]:
    """Digests of the layers that containers are mounted from."""
    names = read_standing(layout)
    return frozenset(digest for digest in list_layers(layout) if layer_path(layout, digest).name in names)
