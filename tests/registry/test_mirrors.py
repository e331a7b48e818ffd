"""Mirrors: asked first, in order, and never the reason that an image cannot be had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.images.registry.endpoints import Endpoint, endpoints
from runtime.images.registry.settings import HostSettings, RegistrySettings
from schemas.errors import Refused
from tests.registry.conftest import Pull, with_host
from tests.registry.fake import Fake, status
from tests.registry.samples import digest_of, image


def mirrored(settings: RegistrySettings, host: str, *mirrors: str) -> RegistrySettings:
    return with_host(settings, host, HostSettings(mirrors=mirrors))


def test_a_mirror_that_has_the_image_is_the_only_one_asked(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = other.hold(image())
    where = mirrored(settings, fake.host, f"http://{other.host}")
    assert pull_from(fake.host, "app:latest", with_settings=where).digest == sample.digest
    assert fake.seen == []


def test_a_mirror_may_keep_images_below_a_prefix(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    other.hold(image())
    where = mirrored(settings, fake.host, f"http://{other.host}/proxy/hub")
    pull_from(fake.host, "team/app:latest", with_settings=where)
    assert all(one.path.startswith("/v2/proxy/hub/team/app/") for one in other.seen)


@pytest.mark.parametrize("code", [401, 403, 404, 418, 500])
def test_a_mirror_that_fails_is_passed_over_and_not_asked_again(
    code: int, fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = fake.hold(image())
    other.gate = status(code)
    where = mirrored(settings, fake.host, "http://127.0.0.1:1", f"http://{other.host}")
    assert pull_from(fake.host, "app:latest", with_settings=where).digest == sample.digest
    assert all("/manifests/" in one.path for one in other.seen)


def test_a_layer_that_a_mirror_lacks_or_forges_comes_from_the_registry(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = fake.hold(image())
    other.hold(sample)
    small = min(sample.layers, key=lambda digest: len(sample.blobs[digest]))
    del other.blobs[small]
    other.blobs[sample.largest] = bytes(len(sample.blobs[sample.largest]))
    where = mirrored(settings, fake.host, f"http://{other.host}")
    assert pull_from(fake.host, "app:latest", with_settings=where).digest == sample.digest
    assert {one.path for one in fake.seen} == {f"/v2/app/blobs/{small}", f"/v2/app/blobs/{sample.largest}"}


def test_a_mirror_never_gets_the_registrys_password(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    fake.hold(image())
    other.gate = status(401, WWW_Authenticate='Basic realm="x"')
    assert settings.docker_config is not None
    settings.docker_config.write_text(json.dumps({"auths": {fake.host: {"username": "a", "password": "b"}}}))
    pull_from(fake.host, "app:latest", with_settings=mirrored(settings, fake.host, f"http://{other.host}"))
    assert {one.authorization for one in other.seen} == {None}


def test_when_all_fail_each_is_told(fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings) -> None:
    where = mirrored(settings, fake.host, f"http://{other.host}")
    with pytest.raises(Refused, match=rf"no such tag.*; the mirror {other.host} said: {other.host} does not have this"):
        pull_from(fake.host, "app:latest", with_settings=where)


def test_a_pinned_digest_protects_from_a_mirror(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = fake.hold(image())
    other.manifests[sample.digest] = (b'{"schemaVersion": 2}', sample.media_type)
    where = mirrored(settings, fake.host, f"http://{other.host}")
    pulled = pull_from(fake.host, f"app@{sample.digest}", with_settings=where)
    assert digest_of(pulled.manifest) == sample.digest


def test_docker_hub_is_spoken_to_at_its_own_address(settings: RegistrySettings) -> None:
    said = HostSettings(mirrors=("mirror.lan:5000", "https://harbor.lan/hub"))
    told = replace(settings, registries={"docker.io": said, "mirror.lan:5000": HostSettings(insecure=True)})
    assert endpoints("docker.io", told) == (
        Endpoint("mirror.lan:5000", ("https", "http"), account="mirror.lan:5000"),
        Endpoint("harbor.lan", ("https",), prefix="hub", account="harbor.lan"),
        Endpoint("registry-1.docker.io", ("https",), account="docker.io"),
    )


def test_loopback_is_nothing_special(settings: RegistrySettings) -> None:
    assert endpoints("127.0.0.1:5000", settings)[0].schemes == ("https",)
    assert endpoints("localhost:5000", settings)[0].schemes == ("https",)


def test_settings_keep_a_path_out_of_a_host(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a mirror"):
        HostSettings(mirrors=("https://user:word@mirror.lan",))
