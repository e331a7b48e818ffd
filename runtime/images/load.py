"""Images by hand, without a manifest: `image load` from an archive, `image import` of a tar from a stream.

Called by the command line. Each gets a name of its own, by which manifests and commands may use it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from runtime.images.archive import read_archive
from runtime.images.config import ImageConfig
from runtime.images.found import Found, add_image, one_layer
from runtime.images.leases import Lease
from runtime.images.limits import Limits
from runtime.images.making import Making, record_of
from runtime.images.platforms import Platform
from runtime.images.progress import Report, Step, ignore
from runtime.images.record import ImageRecord
from runtime.images.rootfs import copy_blob, source_fingerprint
from runtime.images.store import write_image
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import NAME_PATTERN
from schemas.reference import Reference


def load_archive(
    layout: Layout,
    path: Path,
    name: str | None = None,
    *,
    platform: Platform | None = None,
    progress: Report = ignore,
    limits: Limits | None = None,
) -> tuple[ImageRecord, ...]:
    """Every image of the archive, recorded by `name` (one image) or by its tag. Raises Refused, RetryLater."""
    wanted = ImageWanted(name or path.name, archive=path, platform=platform)
    with Lease(layout) as lease:
        making = Making(layout, lease, wanted, progress, limits or Limits())
        images = read_archive(making.store, path, wanted.for_platform, making.limits, making.stepped(Step.READ))
        if name is not None and len(images) != 1:
            raise Refused(f"{name!r} cannot name {len(images)} images", step="load", path=str(path))
        fingerprint = source_fingerprint(path)
        return tuple(_record(_named(making, name or name_of(image, path)), image, fingerprint) for image in images)


def import_tar(
    layout: Layout,
    name: str,
    source: BinaryIO,
    config: ImageConfig,
    *,
    progress: Report = ignore,
    limits: Limits | None = None,
) -> ImageRecord:
    """The tar of a root file system that `source` gives as an image. Raises Refused, RetryLater."""
    wanted = ImageWanted(name, rootfs=Path("-"), config=config)
    with Lease(layout) as lease:
        making = Making(layout, lease, wanted, progress, limits or Limits())
        report = making.stepped(Step.READ)
        with making.store.write() as writer:
            blob = copy_blob(source, writer, lambda done: report("-", done, 0))
        (layer,) = making.ensure_layers([making.layer(blob, None)])
        found = add_image(making.store, one_layer(config, wanted.for_platform, layer.diff_id), (blob,))
        return _record(making, found, "")


def _named(making: Making, name: str) -> Making:
    return replace(making, wanted=replace(making.wanted, name=name))


def _record(making: Making, found: Found, fingerprint: str) -> ImageRecord:
    record = record_of(making, found, fingerprint)
    write_image(making.layout, record)
    return record


def name_of(image: Found, path: Path) -> str:
    """`docker.io/library/nginx:1.27` -> `nginx-1.27`; an image without a tag is named after its file."""
    if image.tags:
        reference = Reference.parse(image.tags[0])
        tag = "" if reference.tag in (None, "latest") else f"-{reference.tag}"
        text = reference.path.rpartition("/")[2] + tag
    else:
        text = path.name.partition(".")[0]
    name = re.sub(r"[^a-z0-9_.-]+", "-", text.lower())[:63].strip("_.-")
    if not re.fullmatch(NAME_PATTERN, name):
        raise Refused(f"no name can be made of {text!r}", step="load", path=str(path), hint="give one with --name")
    return name
