"""An image from a registry: pulled once, found again, healed to what it was, replaced when its policy says so."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from runtime.images.blobs import BlobStore
from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.platforms import machine_platform
from runtime.images.progress import Progress, Step
from runtime.images.registry.settings import RegistrySettings
from runtime.images.store import damage, layer_directories, read_image
from runtime.layout import Layout
from schemas.errors import Refused, TrimtabError
from tests.images.trees import directory, file, names, tar_of
from tests.registry.samples import Address, Sample, docker_image, image, index, push

pytestmark = pytest.mark.kernel

HERE = machine_platform().architecture
BASE = tar_of(directory("etc"), file("etc/name", b"base"))


def sample(text: bytes, architecture: str = HERE) -> Sample:
    return image(BASE, tar_of(directory("etc"), file("etc/name", text)), architecture=architecture)


def content(layout: Layout, name: str) -> bytes:
    record = read_image(layout, name)
    assert record is not None
    return (layer_directories(layout, record)[0] / "etc/name").read_bytes()


def test_an_image_is_pulled_unpacked_and_recorded(
    layout: Layout, registry: Address, settings: RegistrySettings
) -> None:
    digest = push(registry, "shop/web", "1", sample(b"one"))
    steps: list[Progress] = []
    wanted = ImageWanted("web", ref=f"{registry.host}/shop/web:1")
    record = ensure_image(layout, wanted, settings, steps.append)
    assert (record.digest, record.resolved) == (digest, digest)
    assert record.tags == (f"{registry.host}/shop/web:1",)
    assert record.config.cmd == ("/bin/sh",)
    assert content(layout, "web") == b"one"
    assert damage(layout, record) is None
    assert {step.step for step in steps} >= {Step.RESOLVE, Step.PULL, Step.UNPACK, Step.DONE}
    assert {step.image for step in steps} == {"web"}
    assert names(layout.images / "leases") == ["lock"]
    steps.clear()
    assert ensure_image(layout, wanted, settings, steps.append) == record
    assert steps == []


def test_docker_schema_2_is_pulled(layout: Layout, registry: Address, settings: RegistrySettings) -> None:
    push(registry, "shop/docker", "1", docker_image(BASE, architecture=HERE))
    ensure_image(layout, ImageWanted("web", ref=f"{registry.host}/shop/docker:1"), settings)
    assert content(layout, "web") == b"base"


def test_an_index_gives_this_platforms_image(layout: Layout, registry: Address, settings: RegistrySettings) -> None:
    both = index({"linux/s390x": sample(b"other", "s390x"), f"linux/{HERE}": sample(b"mine")})
    digest = push(registry, "shop/index", "1", both)
    wanted = ImageWanted("web", ref=f"{registry.host}/shop/index:1")
    record = ensure_image(layout, wanted, settings)
    assert content(layout, "web") == b"mine"
    assert record.resolved == digest != record.digest


def test_an_image_for_another_machine_is_refused_before_its_layers_are_brought(
    layout: Layout, registry: Address, settings: RegistrySettings
) -> None:
    other = sample(b"other", "s390x")
    push(registry, "shop/other", "1", other)
    with pytest.raises(Refused, match="is for linux/s390x, not for"):
        ensure_image(layout, ImageWanted("web", ref=f"{registry.host}/shop/other:1"), settings)
    assert not any(BlobStore(layout).has(layer) for layer in other.layers)


def test_a_damaged_image_is_healed_to_what_it_was_not_to_what_its_tag_names_today(
    layout: Layout, registry: Address, settings: RegistrySettings
) -> None:
    push(registry, "shop/heal", "1", sample(b"one"))
    wanted = ImageWanted("web", ref=f"{registry.host}/shop/heal:1")
    record = ensure_image(layout, wanted, settings)
    push(registry, "shop/heal", "1", sample(b"two"))
    BlobStore(layout).delete(record.blobs[1].digest)
    shutil.rmtree(layer_directories(layout, record)[0].parent)
    assert ensure_image(layout, wanted, settings).digest == record.digest
    assert content(layout, "web") == b"one"


def test_a_lost_layer_is_unpacked_again_with_no_registry(
    layout: Layout, registry: Address, settings: RegistrySettings
) -> None:
    push(registry, "shop/offline", "1", sample(b"one"))
    wanted = ImageWanted("web", ref=f"{registry.host}/shop/offline:1")
    record = ensure_image(layout, wanted, settings)
    shutil.rmtree(layer_directories(layout, record)[0].parent)
    nowhere = replace(settings, registries={}, connect_timeout=0.1)
    assert ensure_image(layout, wanted, nowhere).layers == record.layers
    assert content(layout, "web") == b"one"


def test_always_follows_the_tag_and_missing_does_not(
    layout: Layout, registry: Address, settings: RegistrySettings
) -> None:
    push(registry, "shop/tag", "1", sample(b"one"))
    always = ImageWanted("always", ref=f"{registry.host}/shop/tag:1", pull_policy="always")
    missing = replace(always, name="missing", pull_policy="missing")
    first = ensure_image(layout, always, settings)
    ensure_image(layout, missing, settings)
    assert ensure_image(layout, always, settings) == first
    push(registry, "shop/tag", "1", sample(b"two"))
    ensure_image(layout, missing, settings)
    ensure_image(layout, always, settings)
    assert (content(layout, "missing"), content(layout, "always")) == (b"one", b"two")


def test_a_pinned_digest_gives_that_image_whatever_the_tag_names(
    layout: Layout, registry: Address, settings: RegistrySettings
) -> None:
    digest = push(registry, "shop/pin", "1", sample(b"one"))
    push(registry, "shop/pin", "1", sample(b"two"))
    ensure_image(layout, ImageWanted("web", ref=f"{registry.host}/shop/pin:1@{digest}"), settings)
    assert content(layout, "web") == b"one"
    with pytest.raises(TrimtabError):
        ensure_image(layout, ImageWanted("no", ref=f"{registry.host}/shop/pin@sha256:{'0' * 64}"), settings)
    assert read_image(layout, "no") is None


def test_layers_that_two_images_share_are_unpacked_once(
    layout: Layout, registry: Address, settings: RegistrySettings
) -> None:
    for tag in ("1", "2"):
        push(registry, "shop/share", tag, sample(tag.encode()))
    one = ensure_image(layout, ImageWanted("one", ref=f"{registry.host}/shop/share:1"), settings)
    inode = layer_directories(layout, one)[1].stat().st_ino
    two = ensure_image(layout, ImageWanted("two", ref=f"{registry.host}/shop/share:2"), settings)
    assert layer_directories(layout, two)[1].stat().st_ino == inode
    assert len(names(layout.layers)) == 3


def test_a_hostile_layer_ends_the_pull_and_leaves_the_image_that_was_there(
    layout: Layout, registry: Address, settings: RegistrySettings
) -> None:
    push(registry, "shop/evil", "1", sample(b"one"))
    wanted = ImageWanted("web", ref=f"{registry.host}/shop/evil:1", pull_policy="always")
    record = ensure_image(layout, wanted, settings)
    push(registry, "shop/evil", "1", image(BASE, tar_of(file("../../evil", b"x")), architecture=HERE))
    with pytest.raises(Refused, match=r"Image/web.*climbs with '\.\.'"):
        ensure_image(layout, wanted, settings)
    assert read_image(layout, "web") == record
    assert damage(layout, record) is None


def test_a_reference_that_is_none_is_refused(layout: Layout) -> None:
    with pytest.raises(Refused, match="no image reference"):
        ensure_image(layout, ImageWanted("web", ref="no reference!"))
