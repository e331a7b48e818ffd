"""What a pushed manifest says of itself: its media type, what it needs, what it refers to. Pure.

Stricter than the spec where two readers could understand a manifest differently, and no stricter elsewhere: configs
and layers may be of any media type, since a registry keeps more than images.

Source: OCI image-spec 1.1 (manifest, index, descriptor); Docker's manifest version 2 schema 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.images.documents import Document, read_document
from runtime.images.oci import INDEXES, MANIFESTS, MAX_ENTRIES, OCI_INDEX, OCI_MANIFEST, read_descriptor
from schemas.errors import Refused

KINDS = INDEXES | MANIFESTS
_FOREIGN = ("nondistributable", "rootfs.foreign")


@dataclass(frozen=True, slots=True)
class Need:
    """A descriptor of a manifest's. `is_manifest`: it stands in an index."""

    digest: str
    size: int
    is_manifest: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    media_type: str
    needs: tuple[Need, ...] = ()
    foreign: tuple[Need, ...] = ()
    """Layers that are kept elsewhere."""
    subject: str = ""
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)


def describe(content: bytes, said: str) -> Described:
    """`said`: the sender's Content-Type, or nothing. Raises Refused for what is no manifest."""
    document = read_document(content, "manifest")
    if document.integer("schemaVersion", 0) != 2:
        document.refuse("schemaVersion", "is not 2")
    kind = _kind(document, said.partition(";")[0].strip().lower())
    subject = document.child("subject")
    return Described(
        media_type=kind,
        needs=tuple({need.digest: need for need in _needs(document, kind)}.values()),
        foreign=tuple(_need(layer) for layer in document.children("layers") if _is_foreign(layer)),
        subject=read_descriptor(subject).digest if subject else "",
        artifact_type=_artifact_type(document, kind),
        annotations=document.texts("annotations"),
    )


def _kind(document: Document, said: str) -> str:
    inside = document.text("mediaType", "")
    if inside and said and inside != said:
        raise Refused(f"was sent as {said[:100]!r} but says {inside[:100]!r}", object="manifest", step="read")
    has_entries = "manifests" in document.fields
    if has_entries and ("layers" in document.fields or "config" in document.fields):
        raise Refused("has both layers and manifests; which is meant?", object="manifest", step="read")
    found = inside or said or (OCI_INDEX if has_entries else OCI_MANIFEST)
    if found not in KINDS:
        raise Refused(f"{found[:100]!r} is no media type of manifests", object="manifest", step="read")
    if (found in INDEXES) is not has_entries:
        raise Refused(f"says {found}, and its fields say otherwise", object="manifest", step="read")
    return found


def _needs(document: Document, kind: str) -> list[Need]:
    if kind in INDEXES:
        entries = document.children("manifests")
        if len(entries) > MAX_ENTRIES:
            document.refuse("manifests", f"has more than {MAX_ENTRIES} entries")
        return [_need(entry, is_manifest=True) for entry in entries]
    layers = document.children("layers")
    if len(layers) > MAX_ENTRIES:
        document.refuse("layers", f"has more than {MAX_ENTRIES} entries")
    own = [layer for layer in layers if not _is_foreign(layer)]
    return [_need(each) for each in (document.required("config"), *own)]


def _need(document: Document, *, is_manifest: bool = False) -> Need:
    descriptor = read_descriptor(document)
    return Need(descriptor.digest, descriptor.size, is_manifest)


def _is_foreign(layer: Document) -> bool:
    return any(word in layer.text("mediaType", "") for word in _FOREIGN)


def _artifact_type(document: Document, kind: str) -> str:
    """distribution-spec 1.1, "Listing Referrers": the config's media type stands in for one that is not given."""
    said = document.text("artifactType", "")
    return said if said or kind in INDEXES else document.required("config").text("mediaType")
