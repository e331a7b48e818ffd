"""Whom we believe: CAs, client certificates, insecure registries, and no way out of TLS."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.images.registry.pull import resolve
from runtime.images.registry.settings import HostSettings, RegistrySettings
from schemas.errors import Refused
from schemas.reference import Reference
from tests.registry.conftest import insecure, with_host
from tests.registry.fake import Asked, Fake, redirect, serving, wants_token
from tests.registry.samples import Address, image, push


def test_an_unknown_ca_is_refused_with_the_remedy(tls_registry: Address, settings: RegistrySettings) -> None:
    reference = Reference.parse(f"{tls_registry.host}/tls:v1")
    with pytest.raises(Refused, match=f"not trusted.*certs.d/{tls_registry.host}/ca.crt"):
        resolve(reference, settings)


def test_a_ca_in_certs_d_is_trusted_for_its_registry(
    tls_registry: Address, certificates: Path, settings: RegistrySettings
) -> None:
    sample = image()
    push(tls_registry, "tls", "v1", sample)
    directory = settings.certs[0] / tls_registry.host
    directory.mkdir(parents=True)
    shutil.copy(certificates / "ca.crt", directory / "ca.crt")
    reference = Reference.parse(f"{tls_registry.host}/tls:v1")
    assert resolve(reference, settings) == sample.digest
    directory.rename(directory.with_name("127.0.0.1:1"))
    with pytest.raises(Refused, match="not trusted"):
        resolve(reference, settings)


def test_a_ca_and_insecure_by_setting(tls_registry: Address, certificates: Path, settings: RegistrySettings) -> None:
    sample = image()
    push(tls_registry, "tls", "v1", sample)
    reference = Reference.parse(f"{tls_registry.host}/tls:v1")
    for said in (HostSettings(ca=certificates / "ca.crt"), HostSettings(insecure=True)):
        assert resolve(reference, with_host(settings, tls_registry.host, said)) == sample.digest


def test_a_ca_that_is_no_certificate_is_named(
    tls_registry: Address, settings: RegistrySettings, tmp_path: Path
) -> None:
    (tmp_path / "bad.pem").write_text("not a certificate")
    said = HostSettings(ca=tmp_path / "bad.pem")
    with pytest.raises(Refused, match=r"cannot be read .*bad\.pem.*PEM"):
        resolve(Reference.parse(f"{tls_registry.host}/tls:v1"), with_host(settings, tls_registry.host, said))


def test_plain_http_is_refused_unless_it_was_set(registry: Address, settings: RegistrySettings) -> None:
    with pytest.raises(Refused, match=f"does not speak TLS.*`insecure: true` for {registry.host}"):
        resolve(Reference.parse(f"{registry.host}/tls:v1"), settings)


def server_context(certificates: Path, verify: ssl.VerifyMode) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose refusal comes before, not after, the handshake
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.crt")
    context.verify_mode = verify
    return context


@pytest.fixture
def tls_fake(certificates: Path) -> Iterator[Fake]:
    """A fake registry behind TLS that looks at client certificates of our CA."""
    with serving(server_context(certificates, ssl.CERT_OPTIONAL)) as made:
        yield made


def test_a_missing_client_certificate_is_told(certificates: Path, settings: RegistrySettings) -> None:
    with serving(server_context(certificates, ssl.CERT_REQUIRED)) as fake:
        where = with_host(settings, fake.host, HostSettings(ca=certificates / "ca.crt"))
        with pytest.raises(Refused, match=f"may want a client certificate.*certs.d/{fake.host}/"):
            resolve(Reference.parse(f"{fake.host}/app:latest"), where)


def test_a_client_certificate_is_shown_to_its_registry(
    tls_fake: Fake, certificates: Path, settings: RegistrySettings
) -> None:
    sample = tls_fake.hold(image())
    shown: list[object] = []

    def gate(asked: Asked) -> bool:
        assert isinstance(asked.connection, ssl.SSLSocket)
        shown.append(asked.connection.getpeercert())
        return False

    tls_fake.gate = gate
    reference = Reference.parse(f"{tls_fake.host}/app:latest")
    directory = settings.certs[0] / tls_fake.host
    directory.mkdir(parents=True)
    for source, target in (("ca.crt", "ca.crt"), ("client.crt", "me.cert"), ("client.key", "me.key")):
        shutil.copy(certificates / source, directory / target)
    assert resolve(reference, settings) == sample.digest
    assert "client" in str(shown)
    (directory / "me.key").unlink()
    with pytest.raises(Refused, match=r"client certificate cannot be used .*me\.cert"):
        resolve(reference, settings)


@pytest.mark.parametrize("what", ["manifest", "token"])
def test_the_way_from_https_to_http_is_refused(
    what: str, tls_fake: Fake, other: Fake, certificates: Path, settings: RegistrySettings
) -> None:
    if what == "manifest":
        tls_fake.script("/manifests/latest", redirect(f"http://{other.host}/v2/app/manifests/latest"))
    else:
        tls_fake.gate = wants_token(f"http://{other.host}/token")
    where = with_host(settings, tls_fake.host, HostSettings(ca=certificates / "ca.crt"))
    with pytest.raises(Refused, match="plain http"):
        resolve(Reference.parse(f"{tls_fake.host}/app:latest"), where)
    assert other.seen == []


def test_an_insecure_registry_may_speak_either(tls_fake: Fake, fake: Fake, settings: RegistrySettings) -> None:
    for one in (tls_fake, fake):
        sample = one.hold(image())
        assert resolve(Reference.parse(f"{one.host}/app:latest"), insecure(settings, one.host)) == sample.digest
