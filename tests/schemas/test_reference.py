"""Image references: the distribution project's grammar, and Docker Hub's short names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reference import Reference, is_digest, parse_digest

DIGEST = "sha256:" + "0123456789abcdef" * 4
LONG_DIGEST = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("localhost/shop", "localhost/shop:latest"),
        ("localhost:5000/shop:2", "localhost:5000/shop:2"),
        ("registry:5000", "docker.io/library/registry:5000"),
        ("registry:5000/shop", "registry:5000/shop:latest"),
        ("example.com", "docker.io/library/example.com:latest"),
        ("example.com/shop/web:tag", "example.com/shop/web:tag"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("[fd00::1]:5000/shop", "[fd00::1]:5000/shop:latest"),
        ("LOCALDOMAIN/shop", "LOCALDOMAIN/shop:latest"),
        ("a/b--c__d.e", "docker.io/a/b--c__d.e:latest"),
        ("web:Tag_with.all-signs", "docker.io/library/web:Tag_with.all-signs"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"nginx:1.27@{DIGEST}", f"docker.io/library/nginx:1.27@{DIGEST}"),
        (f"web@{LONG_DIGEST}", f"docker.io/library/web@{LONG_DIGEST}"),
    ],
)
def test_a_reference_is_filled_in(written: str, canonical: str) -> None:
    assert str(Reference.parse(written)) == canonical
    assert str(Reference.parse(canonical)) == canonical


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("", "is no image reference"),
        (":tag", "is no image reference"),
        ("https://example.com/shop", "leave out https://"),
        ("shop/Web", "has capitals; write 'shop/web'"),
        ("Nginx", "has capitals; write 'nginx'"),
        ("example.com/shop/Web:1", "has capitals"),
        ("-web", "is no image reference"),
        ("web-", "is no image reference"),
        ("a..b/web", "is no registry"),
        ("a/b//c", "is no image reference"),
        ("web ", "is no image reference"),
        ("web\n", "is no image reference"),
        ("web:", "is no tag"),
        ("web:-a", "is no tag"),
        ("web:" + "a" * 129, "is no tag"),
        ("web:a\n", "is no tag"),
        ("[fe80::1%eth0]:5000/web", "is no registry"),
        ("fd00::1:5000/web", "is no registry"),
        ("-example.com/web", "is no registry"),
        ("example.com:port/web", "is no registry"),
        ("a/" + "b" * 256, "characters"),
        ("web@sha256:abc", "is no digest"),
        ("web@" + DIGEST.upper(), "is no digest"),
        ("web@md5:" + "a" * 32, "is no digest"),
        ("web@" + DIGEST + "\n", "is no digest"),
        ("a" * 64, "is an image's identifier"),
    ],
)
def test_what_is_no_reference_is_refused_with_what_to_write(written: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r";") as refusal:
        Reference.parse(written)
    assert wrong in str(refusal.value)
    assert "; " in str(refusal.value)


@pytest.mark.parametrize(
    ("written", "familiar"),
    [
        ("docker.io/library/nginx:1", "nginx:1"),
        ("docker.io/bitnami/redis", "bitnami/redis:latest"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        (f"quay.io/a/b@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
    ],
)
def test_the_familiar_name_is_what_people_write(written: str, familiar: str) -> None:
    assert Reference.parse(written).familiar == familiar


def test_a_digest_pins_before_a_tag() -> None:
    assert Reference.parse("nginx:1").pin == "1"
    assert Reference.parse(f"nginx:1@{DIGEST}").pin == DIGEST
    assert str(Reference.parse("nginx:1").with_digest(DIGEST)) == f"docker.io/library/nginx:1@{DIGEST}"
    with pytest.raises(ValueError, match="is no digest"):
        Reference.parse("nginx").with_digest("latest")


def test_a_digest_is_safe_as_a_file_name() -> None:
    assert parse_digest(DIGEST) == ("sha256", "0123456789abcdef" * 4)
    for text in (
        "sha256:../../x",
        "sha256:" + "/" * 64,
        "../sha256:" + "a" * 64,
        "sha256:" + "a" * 63,
        "sha1:" + "a" * 40,
    ):
        assert not is_digest(text)


@given(st.text(st.sampled_from("ab.:/@-_[]0A%"), max_size=20))
def test_any_text_is_a_reference_that_reads_back_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ValueError:
        return
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference
