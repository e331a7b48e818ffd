"""Signatures as cosign makes them: a small document that names a digest, signed with ECDSA on P-256. Pure.

Source: sigstore/cosign, specs/SIGNATURE_SPEC.md; containers/image, docs/containers-signature.5.md, "simple signing".
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from runtime.images.documents import canonical_json, read_document
from schemas.errors import Refused
from schemas.reference import Reference

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
_TYPE = "cosign container image signature"


def signature_tag(digest: str) -> str:
    """`sha256-….sig` of `sha256:…`: where signatures stand that do not refer."""
    return f"{digest.replace(':', '-', 1)}.sig"


def payload_of(reference: Reference, digest: str) -> bytes:
    """What is signed."""
    critical = {
        "identity": {"docker-reference": reference.name},
        "image": {"docker-manifest-digest": digest},
        "type": _TYPE,
    }
    return canonical_json({"critical": critical, "optional": None})


def sign(key: bytes, payload: bytes) -> str:
    """Base64 of the signature, by a private key in PEM. Raises Refused for a key that cannot sign."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    return base64.b64encode(_private(key).sign(payload, ECDSA(SHA256()))).decode()


def public_of(key: bytes) -> bytes:
    """The public half in PEM. Raises Refused."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return _private(key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def is_signed(public: bytes, payload: bytes, signature: str) -> bool:
    """Whether the signature is that key's. Raises Refused for what is no public key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        _public(public).verify(base64.b64decode(signature, validate=True), payload, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):  # the latter of what is no base64, or not even ASCII
        return False
    return True


def names_digest(payload: bytes, digest: str) -> bool:
    """Whether the signed document is about that image. One that cannot be read is about none."""
    try:
        critical = read_document(payload, "signature").required("critical")
        return critical.text("type") == _TYPE and critical.required("image").text("docker-manifest-digest") == digest
    except Refused:
        return False


def _private(key: bytes) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        hint = "PEM without a password: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        raise Refused("is no private key that can be read", step="sign", hint=hint) from error
    if not isinstance(found, EllipticCurvePrivateKey) or found.curve.name != "secp256r1":
        raise Refused("is no key on P-256", step="sign")
    return found


def _public(key: bytes) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        found = load_pem_public_key(key)
    except (ValueError, TypeError) as error:
        raise Refused("is no public key", step="verify", hint="give it in PEM: openssl pkey -in KEY -pubout") from error
    if not isinstance(found, EllipticCurvePublicKey) or found.curve.name != "secp256r1":
        raise Refused("is no key on P-256", step="verify")
    return found
