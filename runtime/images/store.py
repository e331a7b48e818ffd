"""The images of one engine, by the names of their manifests: read, written, checked, removed.

Called by the reconciler (observe, apply) and by `ensure_image`. A record is written last, after every blob and layer
that it names is durable, so it tells of a whole image, until somebody edits the disk: then `damage` says what.
Fetches, unpacks and collects nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

from runtime.images.blobs import BlobStore, replace_durably
from runtime.images.layers import layer_damage, layer_tree
from runtime.images.platforms import Platform, acceptable
from runtime.images.record import ImageRecord, read_record, record_content
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import NAME_PATTERN
from schemas.reference import Reference

_ENDING = ".json"


def image_path(layout: Layout, name: str) -> Path:
    """The record's file. Raises Refused for what is no name."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise Refused(f"{name!r} is not a name", step="read image", hint="lower-case letters, digits, '.', '_', '-'")
    return layout.images / f"{name}{_ENDING}"


def read_image(layout: Layout, name: str) -> ImageRecord | None:
    """The image of that name, or None; a damaged record counts as none, so that it is made again."""
    try:
        return read_record(image_path(layout, name).read_bytes())
    except FileNotFoundError:
        return None
    except (Refused, ValueError):
        return None


def image_changed_at(layout: Layout, name: str) -> int | None:
    """When the record of that name was last written, in nanoseconds since the epoch; None where there is none."""
    try:
        return image_path(layout, name).stat().st_mtime_ns
    except (FileNotFoundError, Refused):
        return None


def list_images(layout: Layout) -> tuple[ImageRecord, ...]:
    """Every image, by name."""
    paths = layout.images.glob(f"*{_ENDING}") if layout.images.is_dir() else ()
    names = sorted(path.name.removesuffix(_ENDING) for path in paths)
    records = [read_image(layout, name) for name in names if re.fullmatch(NAME_PATTERN, name)]
    return tuple(record for record in records if record is not None)


def unreadable_records(layout: Layout) -> tuple[Path, ...]:
    """Files of records that are damaged or of another version of the engine."""
    paths = sorted(layout.images.glob(f"*{_ENDING}")) if layout.images.is_dir() else []
    return tuple(path for path in paths if read_image(layout, path.name.removesuffix(_ENDING)) is None)


def write_image(layout: Layout, record: ImageRecord) -> None:
    """Replace the record, durably. Raises RetryLater when the disk is full."""
    replace_durably(image_path(layout, record.name), record_content(record))


def remove_image(layout: Layout, name: str) -> None:
    """Forget the image; its blobs and layers go with the next collection, if nothing else uses them."""
    image_path(layout, name).unlink(missing_ok=True)


def damage(layout: Layout, record: ImageRecord) -> str | None:
    """What of the image is missing or was changed by hand, in words, or None. Looks, does not read contents."""
    if (missing := missing_blob(BlobStore(layout), record)) is not None:
        return missing
    for diff_id in dict.fromkeys((*record.layers, *((record.mended,) if record.mended else ()))):
        if (wrong := layer_damage(layout, diff_id)) is not None:
            return wrong
    return None


def missing_blob(store: BlobStore, record: ImageRecord) -> str | None:
    """The first blob of the image that is not here or not as long as it should be, in words."""
    sizes = {record.digest: None, record.config_digest: None} | {blob.digest: blob.size for blob in record.blobs}
    for digest, size in sizes.items():
        found = store.size(digest)
        if found is None:
            return f"blob {store.path(digest)} is missing"
        if size not in (None, found):
            return f"blob {store.path(digest)} has {found} bytes, not {size}"
    return None


def find_image(layout: Layout, reference: Reference, platform: Platform) -> ImageRecord | None:
    """An undamaged image that is known by `reference`, whatever the manifest's name under which it came."""
    for record in list_images(layout):
        known = reference.digest in (record.digest, record.resolved) if reference.digest else False
        if not known and str(reference) not in record.tags:
            continue
        if record.platform.canonical() in acceptable(platform) and damage(layout, record) is None:
            return record
    return None


def layer_directories(layout: Layout, record: ImageRecord) -> tuple[Path, ...]:
    """The trees for overlay's `lowerdir`, highest first. A layer named twice stands where it is highest."""
    upward = (*record.layers, *((record.mended,) if record.mended else ()))
    return tuple(layer_tree(layout, diff_id) for diff_id in dict.fromkeys(reversed(upward)))
