"""Signatures that real cosign has made, verified by ours: its document and ours are the same to the byte.

The recorded ones are test data of containers/image (signature/fixtures; Apache License 2.0): by cosign 1, and one by
skopeo, of an image that is kept here as its manifest alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from runtime.images.digests import digest_of
from runtime.images.registry.settings import HostSettings, RegistrySettings
from runtime.images.trust.policy import Policy
from runtime.images.trust.signing import ANNOTATION, PAYLOAD, is_signed, names_digest, payload_of, signature_tag
from runtime.images.trust.verify import require_trusted
from schemas.errors import Refused
from schemas.reference import Reference
from tests.registry.fake import Fake, serving
from tests.registry.samples import OCI_CONFIG, OCI_MANIFEST, descriptor

KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFNLqFhf4fiN6o/glAuYnq2jYUeL0
vRuLu/z39pmbVwS9ff5AYnlwaP9sxREajdLY9ynM6G1sy6AAmb7Z63TsLg==
-----END PUBLIC KEY-----
"""
KEY_2 = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEwOkOF9xpfG8ghueIhnZ66ooujwt1
+ReV3HupgKnGFYnEh3Hh1YTg5L6kN1Yakkt5WltRoav8/R3hpCtUO3Rldw==
-----END PUBLIC KEY-----
"""
MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":'
    b'"application/vnd.docker.container.image.v1+json","size":1512,"digest":'
    b'"sha256:961769676411f082461f9ef46626dd7a2d1e2b2a38e6a44364bcbecf51e66dd4"},"layers":[{"mediaType":'
    b'"application/vnd.docker.image.rootfs.diff.tar.gzip","size":2896510,"digest":'
    b'"sha256:9d16cba9fb961d1aafec9542f2bf7cb64acfc55245f9e4eb5abecd4cdc38d749"}]}'
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What stands in the payload, the signature beside it, and by whom."""

    name: str
    digest: str
    signature: str
    key: bytes


BY_COSIGN = Recorded(
    "192.168.64.2:5000/cosign-signed-single-sample",
    "sha256:634a8f35b5f16dcf4aaa0822adc0b1964bb786fca12f6831de8ddc45e5986a00",
    "MEYCIQDmtamqYPjMg81nqeBhptrPls44aA/r7PwLmspINJY4MwIhANKRpqe2E9UCBtGFdPoz/8jAbaQm4uP4h+IpwKTE6ClR",
    KEY,
)
BY_COSIGN_2 = Recorded(
    "192.168.64.2:5000/cosign-signed/key-1",
    "sha256:0489474da8ea22426ece86ace6c1c0026ab2fd3cdfbbd62b7e94650266c37d9a",
    "MEUCIQClOJvH+5f5Gr+FLd1c+NS/a+TJQ+BDDoJcnlD0FKqI3AIgPVcMB5yb/JdtohCSzrxATJX6UcyWO+uAWO8Q7CNGnRQ=",
    KEY_2,
)
BY_SKOPEO = "MEUCIAhoI92AgO+sWjr6N+QjEDQE9Wwg1oaDDcaJIlALUqRlAiEA9+iphb/7b5T13Wy7KnlXMUM17uYTgEkUl97pu3GD/5M="
PAYLOAD_BY_SKOPEO = (
    b'{"critical":{"identity":{"docker-reference":"192.168.64.2:5000/skopeo-signed:tag"},"image":'
    b'{"docker-manifest-digest":"sha256:634a8f35b5f16dcf4aaa0822adc0b1964bb786fca12f6831de8ddc45e5986a00"},'
    b'"type":"cosign container image signature"},'
    b'"optional":{"creator":"containers/image 5.21.2-dev","timestamp":1657296609}}'
)


@pytest.mark.parametrize("recorded", [BY_COSIGN, BY_COSIGN_2])
def test_our_document_is_to_the_byte_what_cosign_has_signed(recorded: Recorded) -> None:
    payload = payload_of(Reference.parse(recorded.name), recorded.digest)
    assert is_signed(recorded.key, payload, recorded.signature)
    for other in {KEY, KEY_2} - {recorded.key}:
        assert not is_signed(other, payload, recorded.signature)
    assert not is_signed(recorded.key, payload.replace(b"null", b"{}"), recorded.signature)


def test_a_document_with_a_tag_and_claims_is_believed_about_its_digest() -> None:
    assert is_signed(KEY, PAYLOAD_BY_SKOPEO, BY_SKOPEO)
    assert names_digest(PAYLOAD_BY_SKOPEO, digest_of(MANIFEST))
    assert not names_digest(PAYLOAD_BY_SKOPEO, BY_COSIGN_2.digest)


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A registry with the image's manifest, and cosign's signature under its tag."""
    payload = payload_of(Reference.parse(BY_COSIGN.name), BY_COSIGN.digest)
    layer = descriptor(PAYLOAD, payload) | {"annotations": {ANNOTATION: BY_COSIGN.signature}}
    config = b"{}"
    signature = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, config)}
    content = json.dumps(signature | {"layers": [layer]}).encode()
    with serving() as made:
        made.blobs |= {digest_of(each): each for each in (payload, config)}
        made.manifests[signature_tag(BY_COSIGN.digest)] = (content, OCI_MANIFEST)
        yield made


def test_an_image_that_cosign_has_signed_is_trusted_by_its_key_alone(fake: Fake) -> None:
    settings = RegistrySettings({fake.host: HostSettings(insecure=True)}, attempts=1)
    reference = Reference.parse(f"{fake.host}/cosign-signed-single-sample:1")
    assert digest_of(MANIFEST) == BY_COSIGN.digest
    require_trusted(Policy(keys=(KEY_2, KEY)), reference, (BY_COSIGN.digest,), settings)
    with pytest.raises(Refused, match="not trusted"):
        require_trusted(Policy(keys=(KEY_2,)), reference, (BY_COSIGN.digest,), settings)
    with pytest.raises(Refused, match="not trusted"):
        require_trusted(Policy(keys=(KEY,)), reference, (BY_COSIGN_2.digest,), settings)
