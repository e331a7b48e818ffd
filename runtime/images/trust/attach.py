"""Signs an image in its registry: as a referrer, and under the tag where older tools look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.images.artifact import Artifact, Part, push_artifact, read_tagged
from runtime.images.oci import OCI_CONFIG, Descriptor
from runtime.images.trust.signing import ANNOTATION, ARTIFACT, PAYLOAD, payload_of, public_of, sign, signature_tag
from runtime.images.trust.verify import is_vouched_for
from runtime.layout import Layout
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings


def sign_image(
    layout: Layout, reference: Reference, subject: Descriptor, key: bytes, settings: RegistrySettings
) -> None:
    """Signatures by others stay, and one that this key has made. Raises Refused, RetryLater."""
    payload, tag = payload_of(reference, subject.digest), signature_tag(subject.digest)
    there = read_tagged(reference, tag, settings)
    public = public_of(key)
    if any(is_vouched_for(part, public, subject.digest) for part in there):
        return
    part = Part(PAYLOAD, payload, {ANNOTATION: sign(key, payload)})
    named = Artifact("", (*there, part), config=Part(OCI_CONFIG, b"{}"))
    push_artifact(layout, reference, named, settings, tag)
    push_artifact(layout, reference, Artifact(ARTIFACT, (part,), subject), settings)
