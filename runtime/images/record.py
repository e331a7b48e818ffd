"""What the engine remembers of an image, by the manifest's name: values, and their JSON on disk. Touches no files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum

from runtime.images.config import ImageConfig, read_image_config
from runtime.images.documents import Document, canonical_json, read_document
from runtime.images.oci import Descriptor, read_descriptor
from runtime.images.platforms import Platform, platform_fields, read_platform

VERSION = 1


class Origin(StrEnum):
    """Where an image comes from: the field of the manifest that says so."""

    REF = "ref"
    ARCHIVE = "archive"
    ROOTFS = "rootfs"
    CONTAINER = "container"
    BUILD = "build"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image on this engine. `layers` are diffIDs and `blobs` their descriptors, lowest first."""

    name: str
    origin: Origin
    reference: str
    """The registry reference, the path on this machine or the container, as it was asked for."""
    digest: str
    """Of the manifest."""
    media_type: str
    config_digest: str
    config: ImageConfig
    platform: Platform
    layers: tuple[str, ...]
    blobs: tuple[Descriptor, ...]
    size: int
    """Bytes of the unpacked layers together."""
    resolved: str = ""
    """What the reference named at the last pull: an index's digest, or `digest` itself."""
    tags: tuple[str, ...] = ()
    """References, in full, that the image is known by: the one it was pulled by, those of its archive."""
    fingerprint: str = ""
    """Of the file or directory it was read from."""
    wanted: str = ""
    """Digest of everything that was asked for."""
    mended: str = ""
    """The layer, above all others, that gives implied directories the metadata of the layers below; or nothing."""
    made_at: float = field(default=0.0, compare=False)
    """Seconds since the epoch."""


def record_content(record: ImageRecord) -> bytes:
    """The record as kept on disk."""
    fields = asdict(record) | {
        "version": VERSION,
        "origin": record.origin.value,
        "config": record.config.fields(),
        "platform": platform_fields(record.platform),
        "blobs": [blob.fields() for blob in record.blobs],
    }
    return canonical_json(fields)


def read_record(content: bytes) -> ImageRecord:
    """A record from disk. Raises Refused when it is damaged or of a newer engine."""
    document = read_document(content, "image record")
    if document.integer("version") != VERSION:
        document.refuse("version", "is of another engine")
    return ImageRecord(
        name=document.text("name"),
        origin=Origin(document.text("origin")),
        reference=document.text("reference"),
        digest=document.text("digest"),
        media_type=document.text("media_type"),
        config_digest=document.text("config_digest"),
        config=read_image_config(document.required("config")),
        platform=read_platform(document.required("platform")) or Platform(),
        layers=document.strings("layers"),
        blobs=tuple(read_descriptor(blob) for blob in document.children("blobs")),
        size=document.integer("size"),
        resolved=document.text("resolved", ""),
        tags=document.strings("tags"),
        fingerprint=document.text("fingerprint", ""),
        wanted=document.text("wanted", ""),
        mended=document.text("mended", ""),
        made_at=_seconds(document),
    )


def _seconds(document: Document) -> float:
    value = document.fields.get("made_at")
    return float(value) if isinstance(value, int | float) else 0.0
