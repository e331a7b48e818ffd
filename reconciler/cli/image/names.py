"""Which image a NAME or a REFERENCE on the command line means."""

from __future__ import annotations

import re

from runtime.images.record import ImageRecord
from runtime.images.store import list_images, read_image
from runtime.layout import Layout
from schemas.errors import Missing, Refused
from schemas.names import NAME_PATTERN, Key, Kind
from schemas.reference import Reference


def image_named(layout: Layout, text: str) -> ImageRecord:
    """By its name, else by a reference or a digest it is known by. Raises Refused naming the nearest."""
    record = read_image(layout, text) if re.fullmatch(NAME_PATTERN, text) else None
    if record is not None:
        return record
    images = list_images(layout)
    found = [image for image in images if is_known_by(image, text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(f"{text!r} means several images", hint=f"name one: {', '.join(each.name for each in found)}")
    from schemas.nearest import nearest

    near = nearest(text, (name for image in images for name in (image.name, *image.tags)))
    raise Missing(
        f"there is no image {text!r}", hint=f"did you mean {near}?" if near else "`trimtab image ls` lists them"
    )


def is_known_by(image: ImageRecord, text: str) -> bool:
    """Whether the text is one of its references, or the beginning (six digits at least) of one of its digests."""
    if text.startswith("sha256:"):
        return len(text) >= len("sha256:") + 6 and any(
            digest.startswith(text) for digest in (image.digest, image.resolved, image.config_digest)
        )
    try:
        reference = Reference.parse(text)
    except ValueError:
        return False
    if reference.digest is not None:
        return reference.digest in (image.digest, image.resolved)
    return str(reference) in image.tags


def reference_of(text: str) -> Reference:
    """Raises Refused for what is no reference."""
    try:
        return Reference.parse(text)
    except ValueError as error:
        raise Refused(str(error), step="read reference") from error


def refuse_declared(layout: Layout, name: str, reference: Reference | None = None) -> None:
    """Raises Refused where a manifest already says what the image of that name is, unless it says `reference`."""
    if not layout.store.exists():
        return
    from reconciler.engine import open_engine
    from reconciler.store.inventory import read_inventory

    with open_engine(layout) as engine:
        entry = read_inventory(engine.database).get(Key(Kind.IMAGE, name))
    if entry is None or (reference is not None and _names(entry.manifest["spec"].get("ref"), reference)):
        return
    message = f"{entry.key} is declared by the set {entry.set} ({entry.file}:{entry.line})"
    raise Refused(message, hint="change it there, or give another name")


def _names(text: str | None, reference: Reference) -> bool:
    return text is not None and Reference.parse(text) == reference
