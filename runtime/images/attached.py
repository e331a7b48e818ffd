"""Documents about an image that are kept beside it: its list of packages, its provenance. By the manifest's digest.

Pushed with the image, as artifacts that refer to it. Whoever makes the documents is elsewhere.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.images.artifact import Artifact, Part, push_artifact
from runtime.images.blobs import replace_durably
from runtime.images.digests import split_digest
from runtime.images.oci import Descriptor
from runtime.images.sbom import cyclonedx, provenance
from runtime.images.store import list_images
from runtime.layout import Layout
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings

SBOM, PROVENANCE = "sbom", "provenance"
MEDIA_TYPES = {SBOM: cyclonedx.MEDIA_TYPE, PROVENANCE: provenance.MEDIA_TYPE}
_ANNOTATIONS = {SBOM: {}, PROVENANCE: provenance.ANNOTATIONS}


def read_attached(layout: Layout, digest: str, kind: str) -> bytes | None:
    """What is kept about the image of that digest."""
    try:
        return (_directory(layout, digest) / f"{kind}.json").read_bytes()
    except FileNotFoundError:
        return None


def write_attached(layout: Layout, digest: str, kind: str, content: bytes) -> None:
    """Durable when it returns. Raises RetryLater when the disk is full."""
    replace_durably(_directory(layout, digest) / f"{kind}.json", content)


def forget_unneeded(layout: Layout) -> None:
    """What is about images that are here no more."""
    try:
        kept = [path for path in (layout.images / "attached").iterdir() if path.is_dir()]
    except FileNotFoundError:
        return
    needed = {_directory(layout, image.digest).name for image in list_images(layout)}
    for path in kept:
        if path.name not in needed:
            shutil.rmtree(path, ignore_errors=True)


def push_attached(
    layout: Layout, digest: str, target: Reference, pushed: Descriptor, settings: RegistrySettings
) -> None:
    """To where the image of `digest` was pushed as `pushed`: another manifest, if its layers were compressed for it.

    Raises Refused, RetryLater.
    """
    for kind, media_type in MEDIA_TYPES.items():
        content = read_attached(layout, digest, kind)
        if content is not None:
            part = Part(media_type, _about(content, digest, pushed.digest), dict(_ANNOTATIONS[kind]))
            push_artifact(layout, target, Artifact(media_type, (part,), pushed, annotations=part.annotations), settings)


def _about(content: bytes, digest: str, pushed: str) -> bytes:
    """The document, about the manifest as it was pushed."""
    for old, new in ((digest, pushed), (digest.partition(":")[2], pushed.partition(":")[2])):
        content = content.replace(old.encode(), new.encode())
    return content


def _directory(layout: Layout, digest: str) -> Path:
    algorithm, encoded = split_digest(digest)
    return layout.images / "attached" / f"{algorithm}-{encoded}"
