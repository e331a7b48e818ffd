"""What the steps of a build came to, as one OCI artifact in a registry or in the directory of an OCI layout.

The config says of each step its key, its layer and the blob that holds it; the layers are those blobs. Called by the
builder, which knows what a key is. Reads strangers' bytes: every blob is verified, and nothing is unpacked here.

Source: OCI image-spec 1.1, manifest.md "Guidelines for Artifact Usage", image-layout.md; docs/decisions/0027.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from runtime.images.archive import REF_NAME
from runtime.images.blobs import BlobStore, full_disk_is_retried, new_hash_of, replace_durably, sync_directory
from runtime.images.digests import digest_of, is_digest, split_digest
from runtime.images.documents import Document, canonical_json, read_document, without_empty
from runtime.images.limits import Limits
from runtime.images.locks import lock
from runtime.images.oci import LAYERS, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor, Index, read_descriptor
from runtime.images.progress import Report, ignore
from runtime.images.rootfs import copy_blob
from runtime.images.tarstream import TarStream
from runtime.images.unsound import Unsound
from runtime.kernel.openat2 import open_inside
from schemas.errors import Refused
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.client import Client
    from runtime.images.registry.settings import RegistrySettings

MEDIA_TYPE = "application/vnd.trimtab.build.cache.v1+json"
VERSION = 1
MOST_STEPS = 4000
_LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})
_LATEST = 253_402_300_799.0
"""Seconds: the end of the year 9999, which is as far as a history can tell of."""


@dataclass(frozen=True, slots=True)
class KeptStep:
    """One step: what its key is, the diffID of its layer (empty: it changed nothing), when it was made (seconds since
    the epoch), and the blob that holds the layer."""

    key: str
    layer: str
    created: float
    blob: Descriptor | None = None


def artifact_of(steps: Sequence[KeptStep]) -> tuple[bytes, bytes]:
    """Config and manifest. Equal steps give equal bytes."""
    rows = [
        without_empty(
            {"key": s.key, "layer": s.layer, "blob": s.blob.digest if s.blob else "", "created": repr(s.created)}
        )
        for s in sorted(steps, key=lambda step: step.key)
    ]
    config = canonical_json({"version": VERSION, "steps": rows})
    blobs = {step.blob.digest: step.blob for step in steps if step.blob is not None}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": MEDIA_TYPE,
        "config": Descriptor(MEDIA_TYPE, digest_of(config), len(config)).fields(),
        "layers": [blob.fields() for _, blob in sorted(blobs.items())],
    }
    return config, canonical_json(manifest)


def config_of(manifest: bytes) -> tuple[Descriptor, dict[str, Descriptor]]:
    """Where the config is, and the layers by digest. Raises Refused for what is no cache."""
    document = read_document(manifest, "cache")
    if "manifests" in document.fields:
        raise _no_cache("an index")
    config = read_descriptor(document.required("config"))
    if config.media_type != MEDIA_TYPE:
        raise _no_cache(config.media_type[:100])
    if config.size > MAX_MANIFEST:
        raise Refused(f"is longer than {MAX_MANIFEST} bytes", object="cache", step="read")
    layers = [read_descriptor(each) for each in document.children("layers")]
    return config, {layer.digest: layer for layer in layers if layer.media_type in LAYERS}


def steps_of(config: bytes, layers: dict[str, Descriptor]) -> tuple[KeptStep, ...]:
    """What the config says. Raises Refused where it is unsound, or names a layer that the manifest has not."""
    document = read_document(config, "cache")
    if document.integer("version") != VERSION:
        document.refuse("version", f"is not {VERSION}")
    rows = document.children("steps")
    if len(rows) > MOST_STEPS:
        document.refuse("steps", f"are more than {MOST_STEPS}")
    return tuple(_step(row, layers) for row in rows)


def _step(row: Document, layers: dict[str, Descriptor]) -> KeptStep:
    key, layer, blob = row.text("key"), row.text("layer", ""), row.text("blob", "")
    created = _seconds(row)
    if not is_digest(key) or (layer and not layer.startswith("sha256:")):
        row.refuse("key", "is none of a step")
    if not layer:
        return KeptStep(key, "", created)
    split_digest(layer)
    if blob not in layers:
        row.refuse("blob", "is none of the manifest's layers")
    return KeptStep(key, layer, created, layers[blob])


def _seconds(row: Document) -> float:
    """As text, since it must come back as the very same number: the image's digest depends on it."""
    try:
        created = float(row.text("created"))
    except ValueError:
        created = -1.0
    return created if 0 <= created <= _LATEST else row.refuse("created", "is no time")


def _no_cache(what: str) -> Refused:
    return Refused(f"is no cache of builds, but {what}", object="cache", step="read", hint="`cache_to` writes one")


def unfold(store: BlobStore, step: KeptStep, limits: Limits) -> None:
    """The step's layer in the store, uncompressed, under its diffID. Raises Refused: it is not, or is too large."""
    if step.blob is None or store.has(step.layer):
        return
    with store.open(step.blob.digest) as source:
        stream = TarStream(source.fileno(), limits)
        try:
            with store.write(step.layer) as writer:
                writer.restart()
                for piece in stream.pieces(limits.bytes + 1):
                    writer.write(piece)
                writer.commit()
        except Unsound as error:
            raise Refused(error.message, object=step.blob.digest, step="read cache", hint=error.hint) from error
        finally:
            stream.close()


# in a registry


def read_registry(reference: Reference, settings: RegistrySettings) -> tuple[KeptStep, ...]:
    """What the cache of that name says; nothing where there is none. Raises Refused, RetryLater."""
    import asyncio

    from runtime.images.registry.asking import asked, fetch_content
    from runtime.images.registry.failures import Errand
    from runtime.images.registry.manifests import find_manifest

    errand = Errand(str(reference), "read cache")

    async def work(client: Client) -> tuple[KeptStep, ...]:
        found = await find_manifest(client, reference.pin, errand, settings)
        if found is None:
            return ()
        config, layers = config_of(found.content)
        return steps_of(await fetch_content(client, config.digest, config.size, errand, settings), layers)

    return asyncio.run(asked(reference, settings, work))


def fetch_blobs(
    store: BlobStore, reference: Reference, blobs: Collection[Descriptor], settings: RegistrySettings, report: Report
) -> None:
    """Into the store, several at once. Raises Refused, RetryLater."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from runtime.images.registry.failures import Errand
    from runtime.images.registry.manifests import Search
    from runtime.images.registry.pull import Listeners, all_of, clients_of, ensure_blob
    from runtime.images.registry.transport import connected

    async def work() -> None:
        async with connected(settings) as transport:
            search = Search(store, clients_of(reference, transport), settings, Errand(str(reference), "read cache"))
            slots = asyncio.Semaphore(settings.parallel_layers)
            with ThreadPoolExecutor(settings.parallel_layers, "trimtab-blob") as writers:

                async def one(blob: Descriptor) -> None:
                    async with slots:
                        await ensure_blob(blob, "layer", search, Listeners(report), writers)

                await all_of(*map(one, blobs))

    asyncio.run(work())


def write_registry(
    store: BlobStore,
    reference: Reference,
    steps: Sequence[KeptStep],
    settings: RegistrySettings,
    report: Report = ignore,
) -> str:
    """Push the cache; blobs that the registry has need not be in the store. Raises Refused, RetryLater."""
    from runtime.images.registry.push import PushWanted, push

    config, manifest = artifact_of(steps)
    store.add(config)
    return push(store, PushWanted(reference, store.add(manifest)), settings=settings, progress=report)


# in a directory


def read_directory(directory: Path, tag: str) -> tuple[KeptStep, ...]:
    """What the cache in the OCI layout says; nothing where there is none. Raises Refused."""
    with _opened(directory) as top:
        if top is None:
            return ()
        entry = next((each for each in _entries(top) if each.annotations.get(REF_NAME) == tag), None)
        if entry is None:
            return ()
        config, layers = config_of(_content(top, entry))
        return steps_of(_content(top, config), layers)


def copy_blobs(store: BlobStore, directory: Path, blobs: Collection[Descriptor]) -> None:
    """Into the store. Raises Refused: one is not there, or is not what it says."""
    with _opened(directory) as top:
        for blob in blobs:
            if top is None:
                raise Refused("is no more there", step="read cache", path=str(directory))
            if store.has(blob.digest, blob.size):
                continue
            with _file(top, _path(blob.digest)) as source, store.write(blob.digest, blob.size) as writer:
                writer.restart()
                copy_blob(source, writer, lambda _: None)


def has_blob(directory: Path, blob: Descriptor) -> bool:
    """Whether the layout has a file of that name and size."""
    try:
        return (directory / _path(blob.digest)).stat().st_size == blob.size
    except OSError:
        return False


def write_directory(store: BlobStore, directory: Path, tag: str, steps: Sequence[KeptStep]) -> str:
    """Add the cache to the OCI layout, its index last; what the layout has is not written again. Other tags stay.

    Raises Refused, RetryLater.
    """
    config, manifest = artifact_of(steps)
    for content in (config, manifest):
        store.add(content)
        replace_durably(directory / _path(digest_of(content)), content)
    for blob in {step.blob.digest: step.blob for step in steps if step.blob is not None}.values():
        if not has_blob(directory, blob):
            _copy_out(store, blob, directory / _path(blob.digest))
    replace_durably(directory / "oci-layout", _LAYOUT)
    made = Descriptor(OCI_MANIFEST, digest_of(manifest), len(manifest), None, {REF_NAME: tag}, MEDIA_TYPE)
    with _opened(directory) as top:
        assert top is not None
        # two builds may write to it at once
        lock(top, wait=True)
        others = [each for each in _entries(top) if each.annotations.get(REF_NAME) != tag]
        replace_durably(directory / "index.json", Index(OCI_INDEX, (*others, made)).content())
    return made.digest


def _copy_out(store: BlobStore, blob: Descriptor, path: Path) -> None:
    temporary = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.new")
    with full_disk_is_retried(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with store.open(blob.digest) as source, temporary.open("xb") as target:
                while piece := source.read(1 << 20):
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def _entries(top: int) -> tuple[Descriptor, ...]:
    """Those of the layout's index; none where it has none yet. Raises Refused for one that cannot be read."""
    try:
        with _file(top, "index.json") as file:
            content = file.read(MAX_MANIFEST + 1)
    except Refused as error:
        if error.errno == errno.ENOENT:
            return ()
        raise
    return tuple(read_descriptor(each) for each in read_document(content, "index").children("manifests"))


def _content(top: int, wanted: Descriptor) -> bytes:
    """A small blob, verified."""
    if wanted.size > MAX_MANIFEST:
        raise Refused(f"is longer than {MAX_MANIFEST} bytes", object=wanted.digest, step="read cache")
    with _file(top, _path(wanted.digest)) as file:
        content = file.read(wanted.size + 1)
    algorithm, encoded = split_digest(wanted.digest)
    if new_hash_of(algorithm, content) != encoded:
        raise Refused("is damaged", object=wanted.digest, step="read cache", hint="remove the directory")
    return content


@contextmanager
def _opened(directory: Path) -> Iterator[int | None]:
    try:
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise Refused(
            error.strerror or str(error), step="read cache", path=str(directory), errno=error.errno
        ) from error
    try:
        yield top
    finally:
        os.close(top)


def _file(top: int, name: str) -> BinaryIO:
    """A file of the layout, through links that stay inside. Raises Refused."""
    try:
        return os.fdopen(open_inside(top, name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise Refused(error.strerror or str(error), step="read cache", path=name, errno=error.errno) from error


def _path(digest: str) -> str:
    algorithm, encoded = split_digest(digest)
    return f"blobs/{algorithm}/{encoded}"
