"""Registries for tests: Debian's own, in the variants that people run, and settings that fail fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.images.blobs import BlobStore
from runtime.images.platforms import Platform
from runtime.images.progress import Report, ignore
from runtime.images.registry.pull import OnLayer, OnManifest, Pulled, pull
from runtime.images.registry.settings import HostSettings, RegistrySettings
from runtime.layout import Layout
from schemas.reference import Reference
from tests.registry.distribution import docker_registry, make_certificates
from tests.registry.fake import Fake, serving
from tests.registry.samples import Address, Sample, image, layer_tar, noise

AMD64 = Platform("linux", "amd64")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A plain HTTP docker-registry for the whole session: give each test a repository of its own."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A docker-registry that wants alice's password."""
    with docker_registry(tmp_path_factory.mktemp("locked"), auth=True) as address:
        yield address


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.crt; server.crt and server.key for 127.0.0.1; client.crt and client.key."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Address]:
    """A docker-registry behind TLS whose CA nobody knows."""
    with docker_registry(tmp_path_factory.mktemp("tls"), tls=certificates) as address:
        yield address


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A registry of the test's own that behaves as the test says."""
    with serving() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Fake]:
    """A second one: a host that is not the registry."""
    with serving() as made:
        yield made


@pytest.fixture
def sample(fake: Fake) -> Sample:
    """An image of the fake registry, with one layer of about 3 MB."""
    return fake.hold(image(layer_tar({"small": b"1"}), layer_tar({"noise": noise(3_000_000)})))


@pytest.fixture
def settings(tmp_path: Path) -> RegistrySettings:
    """Nobody's credentials, no certificates, and no patience."""
    return RegistrySettings(
        certs=(tmp_path / "certs.d",),
        docker_config=tmp_path / "config.json",
        attempts=3,
        backoff=0.01,
        retry_after_cap=5.0,
        connect_timeout=2.0,
        stall_timeout=0.4,
        request_timeout=3.0,
        helper_timeout=2.0,
    )


@pytest.fixture
def store(layout: Layout) -> BlobStore:
    return BlobStore(layout)


Pull = Callable[..., Pulled]


@pytest.fixture
def pull_from(store: BlobStore, settings: RegistrySettings) -> Pull:
    """`pull_from(host, "repository:tag")`: a pull over plain HTTP into the test's store."""

    def pull_image(
        host: str,
        name: str,
        *,
        platform: Platform = AMD64,
        progress: Report = ignore,
        on_manifest: OnManifest | None = None,
        on_layer: OnLayer | None = None,
        with_settings: RegistrySettings = settings,
    ) -> Pulled:
        return pull(
            store,
            Reference.parse(f"{host}/{name}"),
            settings=insecure(with_settings, host),
            platform=platform,
            progress=progress,
            on_manifest=on_manifest,
            on_layer=on_layer,
        )

    return pull_image


def insecure(settings: RegistrySettings, *hosts: str) -> RegistrySettings:
    """The same settings, with these registries allowed to speak plain HTTP."""
    return replace(
        settings,
        registries={**settings.registries, **{host: replace(settings.host(host), insecure=True) for host in hosts}},
    )


def with_host(settings: RegistrySettings, host: str, said: HostSettings) -> RegistrySettings:
    return replace(settings, registries={**settings.registries, host: said})
