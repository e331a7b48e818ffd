"""Images that were brought by hand (built, committed, loaded, pulled) and that a manifest names, as Docker finds them.

They belong to no set: whoever names one stands on it, and none is made, changed or removed here. Found by the name, or
by a reference the image is known by where no image is implied for that reference yet. Reads the disk; changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from reconciler.resolve.expand import BY_HAND, implicit_name
from runtime.images.record import ImageRecord
from runtime.images.store import image_path, list_images, read_image
from runtime.layout import Layout
from schemas.container import ContainerTemplate
from schemas.envelope import Declared, Metadata
from schemas.image import ImageSpec
from schemas.names import NAME_PATTERN, Key, Kind
from schemas.reference import Reference


def local_images(layout: Layout, own: Iterable[Declared], declared: Collection[Key]) -> dict[Key, Declared]:
    """Those that `own` names, beside the `declared` objects of every set."""
    images: tuple[ImageRecord, ...] | None = None
    found: dict[Key, Declared] = {}
    for text in dict.fromkeys(text for item in own for text in _named(item)):
        if Key(Kind.IMAGE, text) in declared:
            continue
        record = read_image(layout, text) if re.fullmatch(NAME_PATTERN, text) else None
        if record is None and (reference := _reference(text)) is not None and not _is_implied(layout, text):
            images = images if images is not None else list_images(layout)
            known = (each for each in images if Key(Kind.IMAGE, each.name) not in declared)
            record = next((each for each in known if str(reference) in each.tags), None)
        if record is not None:
            key = Key(Kind.IMAGE, record.name)
            found[key] = Declared(key, Metadata(key.name), ImageSpec(ref=text), BY_HAND)
    return found


def _named(item: Declared) -> Iterator[str]:
    """What its containers are made of, and the images they mount; not where the registry is to be asked in any case, or
    for another platform."""
    spec = item.spec
    if not isinstance(spec, ContainerTemplate) or spec.pull_policy == "always" or spec.platform is not None:
        return
    yield spec.image
    yield from (mount.source for mount in spec.volumes if mount.type == "image" and mount.source is not None)


def _reference(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except ValueError:
        return None


def _is_implied(layout: Layout, text: str) -> bool:
    return image_path(layout, implicit_name(text)).exists()
