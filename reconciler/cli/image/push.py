"""The work of `trimtab image push` and `copy`: an image to a registry, its progress shown meanwhile."""

from __future__ import annotations

from dataclasses import replace

from reconciler.cli.image.names import image_named, reference_of
from reconciler.cli.live import display
from reconciler.registries import read_registries
from runtime.images.record import ImageRecord
from runtime.images.to_registry import copy_image, push_image
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference


def push(layout: Layout, name: str, target: str | None, compression: str, *, quiet: bool) -> str:
    """`REFERENCE@DIGEST`. Raises Refused, RetryLater."""
    image = image_named(layout, name)
    reference = _tagged(target) if target else _own(image)
    with display(quiet=quiet) as shown:
        digest = push_image(layout, image, reference, read_registries(layout), shown.report, compression)
    return str(replace(reference, digest=digest))


def copy(layout: Layout, source: str, target: str, *, quiet: bool) -> str:
    """`REFERENCE@DIGEST`. Raises Refused, RetryLater."""
    reference = _tagged(target)
    with display(quiet=quiet) as shown:
        digest = copy_image(layout, reference_of(source), reference, read_registries(layout), shown.report)
    return str(replace(reference, digest=digest))


def _own(image: ImageRecord) -> Reference:
    if image.tags:
        return _tagged(image.tags[0])
    raise Refused(f"the image {image.name} has no reference", step="push", hint="say where to: push NAME REFERENCE")


def _tagged(text: str) -> Reference:
    reference = reference_of(text)
    if reference.tag is None:
        raise Refused(f"{text} names a digest", step="push", hint="give a tag: a digest follows from what is pushed")
    return replace(reference, digest=None)
