"""Refuses an image that nobody vouched for. Called with its digests before a layer of it is fetched or used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.images.artifact import Part, read_parts, read_tagged
from runtime.images.trust.listed import is_listed
from runtime.images.trust.policy import Policy
from runtime.images.trust.signing import ANNOTATION, ARTIFACT, PAYLOAD, is_signed, names_digest, signature_tag
from schemas.errors import Refused
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings


def require_trusted(policy: Policy, reference: Reference, digests: Sequence[str], settings: RegistrySettings) -> None:
    """`digests`: of what the reference names and of the image for this platform; one of them must be vouched for.

    Raises Refused, RetryLater (the registry cannot be asked: nothing is believed then).
    """
    wanted = tuple(dict.fromkeys(each for each in digests if each))
    if any(_is_trusted(policy, reference, digest, settings) for digest in wanted):
        return
    who = "the list does not name it" if policy.list_key else f"no signature of {_count(policy.keys)} is there"
    raise Refused(
        f"the image is not trusted: {who}",
        object=f"{reference.name}@{wanted[0]}" if wanted else str(reference),
        step="verify",
        hint="`trimtab image sign` signs it",
    )


def _count(keys: Sequence[bytes]) -> str:
    return "the key" if len(keys) == 1 else f"any of the {len(keys)} keys"


def _is_trusted(policy: Policy, reference: Reference, digest: str, settings: RegistrySettings) -> bool:
    if policy.list_key:
        return is_listed(policy.list_key, policy.listed, digest)
    parts = (
        *read_tagged(reference, signature_tag(digest), settings),
        *read_parts(reference, digest, ARTIFACT, settings),
    )
    return any(is_vouched_for(part, key, digest) for part in parts for key in policy.keys)


def is_vouched_for(part: Part, key: bytes, digest: str) -> bool:
    """Whether the part is that key's signature of the image."""
    signature = part.annotations.get(ANNOTATION, "")
    if part.media_type != PAYLOAD or not signature or not names_digest(part.content, digest):
        return False
    return is_signed(key, part.content, signature)
