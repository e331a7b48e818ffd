"""An image of this machine to a registry: compressed if it is not yet, its blobs mounted where the registry has them.

Called by the command line and for `Image.spec.push`. Imports the client, and with it aiohttp, only when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runtime.images.blobs import BlobStore
from runtime.images.compress import GZIP, compressed
from runtime.images.found import read_found
from runtime.images.leases import Lease
from runtime.images.oci import Descriptor
from runtime.images.progress import Progress, Report, Step
from runtime.images.record import ImageRecord
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings


def push_image(
    layout: Layout,
    image: ImageRecord,
    target: Reference,
    settings: RegistrySettings,
    progress: Report,
    compression: str = GZIP,
) -> str:
    """The digest of the manifest that `target` names then; what is kept about it is pushed too.

    Raises Refused, RetryLater.
    """
    from runtime.images.attached import push_attached
    from runtime.images.registry.push import PushWanted, push

    with Lease(layout) as lease:
        store = BlobStore(layout, lease)
        try:
            found = read_found(store, image.digest)
            sent = compressed(layout, store, found, _telling(image.name, progress), compression)
        except FileNotFoundError as error:
            raise Refused(
                f"the image {image.name} is damaged: {error.filename} is missing",
                step="push",
                hint="`trimtab apply` makes it whole again",
            ) from error
        elsewhere = dict.fromkeys((blob.digest for blob in image.blobs), _known(image, target))
        wanted = PushWanted(target, sent.digest, elsewhere)
        digest = push(store, wanted, settings=settings, progress=progress)
        size = store.size(sent.digest) or 0
        push_attached(layout, image.digest, target, Descriptor(sent.manifest.media_type, digest, size), settings)
        return digest


def copy_image(
    layout: Layout, source: Reference, target: Reference, settings: RegistrySettings, progress: Report
) -> str:
    """Every platform of what `source` names, as `target`; nothing is unpacked. Raises Refused, RetryLater."""
    from runtime.images.registry.push import copy

    with Lease(layout) as lease:
        return copy(BlobStore(layout, lease), source, target, settings=settings, progress=progress)


def _known(image: ImageRecord, target: Reference) -> Sequence[str]:
    """Repositories of the same registry that the image came from."""
    names = [Reference.parse(tag) for tag in image.tags]
    return tuple(name.path for name in names if name.domain == target.domain and name.path != target.path)


def _telling(name: str, progress: Report) -> Callable[[str, int, int], None]:
    return lambda subject, done, total: progress(Progress(name, Step.COMPRESS, subject, done, total))
