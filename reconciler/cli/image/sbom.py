"""The work of `trimtab image sbom`: a document about an image, from beside it, made now, or from its registry."""

from __future__ import annotations

import click

from reconciler.cli.image.names import image_named, reference_of
from reconciler.images.attesting import ensure_sbom
from reconciler.registries import read_registries
from runtime.images.artifact import read_parts
from runtime.images.attached import MEDIA_TYPES, PROVENANCE, SBOM, read_attached
from runtime.images.from_registry import resolve_image
from runtime.images.record import ImageRecord
from runtime.layout import Layout
from schemas.errors import Missing


def print_document(layout: Layout, name: str, *, provenance: bool) -> None:
    """Raises Refused, RetryLater; Missing where nobody has noted it."""
    kind = PROVENANCE if provenance else SBOM
    try:
        image = image_named(layout, name)
    except Missing:
        if "/" not in name:
            raise
        content = _pushed(layout, name, kind)
    else:
        content = _kept(layout, image, kind)
    if content is None:
        raise Missing(f"there is no {kind} of {name}", hint="it was not built here, or pushed without it")
    click.echo(content, nl=False)


def _kept(layout: Layout, image: ImageRecord, kind: str) -> bytes | None:
    return ensure_sbom(layout, image) if kind == SBOM else read_attached(layout, image.digest, kind)


def _pushed(layout: Layout, name: str, kind: str) -> bytes | None:
    settings, reference = read_registries(layout), reference_of(name)
    parts = read_parts(reference, resolve_image(reference, settings), MEDIA_TYPES[kind], settings)
    return next((part.content for part in parts if part.media_type == MEDIA_TYPES[kind]), None)
