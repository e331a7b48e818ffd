"""What the image tests ask for beside the engine of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.images.registry.settings import HostSettings, RegistrySettings
from tests.registry.distribution import docker_registry
from tests.registry.samples import Address


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A plain HTTP docker-registry for the session: give each test a repository of its own."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def settings(registry: Address) -> RegistrySettings:
    """No patience, and plain HTTP for that registry."""
    return RegistrySettings(
        registries={registry.host: HostSettings(insecure=True)}, attempts=1, connect_timeout=2, request_timeout=5
    )
