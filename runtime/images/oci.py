"""Descriptors, manifests, indexes: OCI image-spec 1.1, and Docker's manifest version 2 schema 2, which says the same.

Read from strangers' bytes and written for archives. Pure: fetches and keeps nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.images.digests import split_digest
from runtime.images.documents import Document, canonical_json, read_document, without_empty
from runtime.images.platforms import Platform, choose, platform_fields, read_platform
from schemas.errors import Refused

MAX_MANIFEST = 4 << 20
"""Bytes; distribution-spec 1.1: a registry should take manifests up to 4 MiB."""
MAX_LAYERS = 500
"""Overlay in the kernel stacks at most 500 lower layers (OVL_MAX_STACK)."""
MAX_ENTRIES = 4096

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_LAYER_STEMS = (
    OCI_LAYER,
    DOCKER_LAYER,
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
LAYERS = frozenset(stem + end for stem in _LAYER_STEMS for end in ("", "+gzip", "+zstd", ".gzip", ".zstd"))
"""Compression is told by a blob's first bytes; the media type only says that it is a layer."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names a blob: what it is, its digest, its size in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    artifact_type: str = ""

    def fields(self) -> dict[str, object]:
        """As the image-spec writes it in JSON."""
        made: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform:
            made["platform"] = platform_fields(self.platform)
        return made | without_empty({"annotations": self.annotations, "artifactType": self.artifact_type})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform: its config and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """As a blob."""
        made: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.fields(),
            "layers": [layer.fields() for layer in self.layers],
        }
        return canonical_json(made | without_empty({"annotations": self.annotations}))


@dataclass(frozen=True, slots=True)
class Index:
    """The same image for several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        made: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [manifest.fields() for manifest in self.manifests],
        }
        return canonical_json(made | without_empty({"annotations": self.annotations}))

    def choose(self, wanted: Platform) -> Descriptor:
        """The entry for `wanted`. Raises Refused, naming what is offered."""
        images = [entry for entry in self.manifests if entry.media_type in MANIFESTS | INDEXES]
        images = [entry for entry in images if not entry.artifact_type and not _is_attestation(entry)]
        found = choose([entry.platform for entry in images], wanted)
        if found is None:
            offered = ", ".join(sorted({str(entry.platform) for entry in images if entry.platform})) or "none"
            raise Refused(
                f"the image is not made for {wanted}; it is for {offered}"[:1000],
                step="choose platform",
                hint="set `platform`, or take an image built for this machine",
            )
        return images[found]


def read_manifest(content: bytes, media_type: str = "") -> Manifest | Index:
    """A manifest or an index from bytes, whichever it is; `media_type` is what the sender said, if it did.

    Raises Refused: unsound JSON, a document that could be read as both kinds (CVE-2021-41190), a media type that
    contradicts the sender's, Docker's schema 1.
    """
    if len(content) > MAX_MANIFEST:
        raise Refused(f"is larger than {MAX_MANIFEST} bytes", object="manifest", step="read")
    document = read_document(content, "manifest")
    if document.integer("schemaVersion", 0) != 2:
        raise Refused(
            "is not of schema version 2",
            object="manifest",
            step="read",
            hint="Docker's schema 1 ended in 2017; push the image again with a newer tool",
        )
    kind = _media_type(document, media_type)
    return _index(document, kind) if kind in INDEXES else _manifest(document, kind)


def read_descriptor(document: Document) -> Descriptor:
    """One descriptor. Raises Refused."""
    digest = document.text("digest")
    split_digest(digest)
    return Descriptor(
        media_type=document.text("mediaType"),
        digest=digest,
        size=document.integer("size"),
        platform=read_platform(document.child("platform")),
        annotations=document.texts("annotations"),
        artifact_type=document.text("artifactType", ""),
    )


def _media_type(document: Document, said: str) -> str:
    said = said.partition(";")[0].strip().lower()
    inside = document.text("mediaType", "")
    known = INDEXES | MANIFESTS
    if said in known and inside in known and said != inside:
        raise Refused(f"was sent as {said} but says {inside}", object="manifest", step="read")
    lists, images = "manifests" in document.fields, "layers" in document.fields or "config" in document.fields
    if lists and images:
        raise Refused("has both layers and manifests; which is meant?", object="manifest", step="read")
    found = inside or (said if said in known else "") or (OCI_INDEX if lists else OCI_MANIFEST)
    if found not in known:
        raise Refused(f"{found[:100]!r} is not an image", object="manifest", step="read")
    if (found in INDEXES) is not lists:
        raise Refused(f"says {found}, and its fields say otherwise", object="manifest", step="read")
    return found


def _manifest(document: Document, kind: str) -> Manifest:
    config = read_descriptor(document.required("config"))
    layers = tuple(read_descriptor(layer) for layer in document.children("layers"))
    if config.media_type not in CONFIGS:
        raise Refused(f"holds {config.media_type[:100]!r}, which is not an image", object="manifest", step="read")
    if len(layers) > MAX_LAYERS:
        raise Refused(f"has more than {MAX_LAYERS} layers", object="manifest", step="read")
    for index, layer in enumerate(layers):
        if layer.media_type not in LAYERS:
            raise Refused(f"layers[{index}] is {layer.media_type[:100]!r}, not a layer", object="manifest", step="read")
    return Manifest(kind, config, layers, document.texts("annotations"))


def _index(document: Document, kind: str) -> Index:
    entries = document.children("manifests")
    if len(entries) > MAX_ENTRIES:
        raise Refused(f"has more than {MAX_ENTRIES} entries", object="index", step="read")
    return Index(kind, tuple(read_descriptor(entry) for entry in entries), document.texts("annotations"))


def _is_attestation(entry: Descriptor) -> bool:
    """BuildKit's provenance rides in the index as an image for `unknown/unknown`."""
    unknown = entry.platform is not None and entry.platform.os == "unknown"
    return unknown or "vnd.docker.reference.type" in entry.annotations
