"""Images by hand, without a manifest: `image load` from an archive, `image import` of a tar from a stream.

Called by the command line. Each gets a name of its own, by which manifests and commands may use it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from runtime.images.archive import read_archive
from runtime.images.blobs import BlobStore
from runtime.images.config import ImageConfig
from runtime.images.ensure import unpack_image
from runtime.images.found import Found, add_image, one_layer
from runtime.images.leases import Lease
from runtime.images.limits import Limits
from runtime.images.platforms import Platform, machine_platform
from runtime.images.progress import Progress, Report, Step, ignore
from runtime.images.record import ImageRecord
from runtime.images.rootfs import copy_blob, source_fingerprint
from runtime.images.store import write_image
from runtime.images.unpack import LayerWanted, ensure_layers
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
    limits = limits or Limits()
    with Lease(layout) as lease:
        store = BlobStore(layout, lease)

        def report(subject: str, done: int, total: int) -> None:
            progress(Progress(name or path.name, Step.READ, subject, done, total))

        wanted = ImageWanted(name or "", archive=path, platform=platform)
        images = read_archive(store, path, wanted.for_platform, limits, report)
        if name is not None and len(images) != 1:
            raise Refused(f"{name!r} cannot name {len(images)} images", step="load", path=str(path))
        fingerprint = source_fingerprint(path)
        records = []
        for image in images:
            one = ImageWanted(name or name_of(image, path), archive=path, platform=platform)
            records.append(unpack_image(layout, lease, one, image, fingerprint, progress, limits))
            write_image(layout, records[-1])
        return tuple(records)


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
    limits = limits or Limits()
    with Lease(layout) as lease:
        store = BlobStore(layout, lease)
        with store.write() as writer:
            blob = copy_blob(source, writer, lambda done: progress(Progress(name, Step.READ, "-", done)))
        (layer,) = ensure_layers(layout, [LayerWanted(store.path(blob), None, blob)], limits, lease)
        found = add_image(store, one_layer(config, machine_platform(), layer.diff_id), (blob,))
        wanted = ImageWanted(name, rootfs=Path("-"), config=config)
        record = unpack_image(layout, lease, wanted, found, "", progress, limits)
        write_image(layout, record)
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
