"""Pulling from Debian's docker-registry: the formats, the platforms, what is kept and what is told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from runtime.images.blobs import BlobStore
from runtime.images.oci import Descriptor, Manifest
from runtime.images.platforms import Platform
from runtime.images.progress import Progress, Step
from runtime.images.registry.pull import Pulled, resolve
from runtime.images.registry.settings import RegistrySettings
from schemas.errors import Refused
from schemas.reference import Reference
from tests.registry.conftest import Pull, insecure
from tests.registry.samples import (
    DOCKER_LIST,
    Address,
    Sample,
    digest_of,
    docker_image,
    image,
    index,
    layer_tar,
    noise,
    push,
)


def assert_whole(store: BlobStore, sample: Sample) -> None:
    for digest, content in sample.blobs.items():
        assert store.path(digest).read_bytes() == content
    assert store.path(sample.digest).read_bytes() == sample.content


def test_an_oci_image_arrives_whole(registry: Address, store: BlobStore, pull_from: Pull) -> None:
    sample = image()
    push(registry, "oci", "v1", sample)

    pulled = pull_from(registry.host, "oci:v1")

    assert (pulled.digest, pulled.resolved) == (sample.digest, sample.digest)
    assert pulled.manifest == sample.content
    assert pulled.media_type == sample.media_type
    assert tuple(layer.digest for layer in pulled.content.layers) == sample.layers
    assert_whole(store, sample)
    assert list(store.partials()) == []


def test_a_docker_image_arrives_whole(registry: Address, store: BlobStore, pull_from: Pull) -> None:
    sample = docker_image()
    push(registry, "docker", "v1", sample)
    assert pull_from(registry.host, "docker:v1").digest == sample.digest
    assert_whole(store, sample)


@pytest.mark.parametrize("media_type", ["application/vnd.oci.image.index.v1+json", DOCKER_LIST])
def test_the_image_for_the_platform_is_taken_from_an_index(
    media_type: str, registry: Address, store: BlobStore, pull_from: Pull
) -> None:
    make = docker_image if media_type == DOCKER_LIST else image
    intel = make(layer_tar({"a": b"intel"}))
    arm = make(layer_tar({"a": b"arm"}), architecture="arm64")
    both = index({"linux/arm64/v8": arm, "linux/amd64": intel}, media_type)
    push(registry, "multi", "v1", both)

    pulled = pull_from(registry.host, "multi:v1", platform=Platform("linux", "arm64", "v8"))

    assert (pulled.digest, pulled.resolved) == (arm.digest, both.digest)
    assert_whole(store, arm)
    assert store.path(both.digest).read_bytes() == both.content
    assert not any(store.has(digest) for digest in intel.layers)
    assert pull_from(registry.host, "multi:v1").digest == intel.digest


def test_an_index_without_this_platform_names_what_it_offers(registry: Address, pull_from: Pull) -> None:
    push(registry, "foreign", "v1", index({"linux/s390x": image(), "linux/arm/v7": image(architecture="arm")}))
    with pytest.raises(Refused, match=r"not made for linux/amd64; it is for linux/arm/v7, linux/s390x") as refusal:
        pull_from(registry.host, "foreign:v1")
    assert refusal.value.object == f"{registry.host}/foreign:v1"


def test_a_digest_pin_is_pulled_without_its_tag(registry: Address, store: BlobStore, pull_from: Pull) -> None:
    old, new = image(layer_tar({"v": b"1"})), image(layer_tar({"v": b"2"}))
    push(registry, "pinned", "latest", old)
    push(registry, "pinned", "latest", new)
    assert pull_from(registry.host, f"pinned@{old.digest}").digest == old.digest
    assert pull_from(registry.host, f"pinned:latest@{old.digest}").digest == old.digest
    assert pull_from(registry.host, "pinned").digest == new.digest


def test_an_unknown_tag_is_refused_with_a_question(registry: Address, pull_from: Pull) -> None:
    push(registry, "known", "v1", image())
    with pytest.raises(Refused, match=r"MANIFEST_UNKNOWN.*no such tag; is the name right\?"):
        pull_from(registry.host, "known:v2")
    with pytest.raises(Refused, match="no such tag"):
        pull_from(registry.host, "unheard/of:v1")


def test_resolve_tells_the_digest_of_what_is_named(registry: Address, settings: RegistrySettings) -> None:
    both = index({"linux/amd64": image()})
    push(registry, "resolved", "v1", both)
    where = insecure(settings, registry.host)
    assert resolve(Reference.parse(f"{registry.host}/resolved:v1"), where) == both.digest
    with pytest.raises(Refused, match="no such tag"):
        resolve(Reference.parse(f"{registry.host}/resolved:v2"), where)


def test_the_manifest_then_every_layer_is_announced_once_it_is_in_the_store(
    registry: Address, store: BlobStore, pull_from: Pull
) -> None:
    same = layer_tar({"twice": b"same"})
    sample = image(same, layer_tar({"other": noise(100_000)}), same)
    push(registry, "announced", "v1", sample)
    announced: list[str] = []

    def on_manifest(manifest: Manifest) -> None:
        assert store.has(manifest.config.digest, manifest.config.size)
        assert not any(store.has(layer.digest) for layer in manifest.layers)
        announced.append("manifest")

    def on_layer(layer: Descriptor) -> None:
        assert store.has(layer.digest, layer.size)
        assert threading.current_thread() is not threading.main_thread()
        announced.append(layer.digest)

    pull_from(registry.host, "announced:v1", on_manifest=on_manifest, on_layer=on_layer)
    assert announced[0] == "manifest"
    assert sorted(announced[1:]) == sorted(set(sample.layers))


def test_what_a_listener_raises_ends_the_pull(registry: Address, pull_from: Pull) -> None:
    push(registry, "listener", "v1", image())

    def on_layer(layer: Descriptor) -> None:
        raise Refused("the layer is bad", object=layer.digest)

    with pytest.raises(Refused, match="the layer is bad"):
        pull_from(registry.host, "listener:v1", on_layer=on_layer)


def test_progress_of_a_layer_grows_to_its_size(registry: Address, pull_from: Pull) -> None:
    sample = image(layer_tar({"noise": noise(6 << 20)}))
    push(registry, "progress", "v1", sample)
    told: list[Progress] = []
    pull_from(registry.host, "progress:v1", progress=told.append)

    assert told[0].step is Step.RESOLVE
    steps = [one.done for one in told if one.subject == sample.largest]
    size = len(sample.blobs[sample.largest])
    assert steps == sorted(steps)
    assert steps[-1] == size
    assert len(steps) > 3
    assert {one.total for one in told if one.subject == sample.largest} == {size}


def test_a_pull_works_in_a_worker_thread(registry: Address, pull_from: Pull) -> None:
    push(registry, "threads", "v1", image())
    results: list[Pulled] = []
    worker = threading.Thread(target=lambda: results.append(pull_from(registry.host, "threads:v1")))
    worker.start()
    worker.join(30)
    assert len(results) == 1


def test_nothing_stays_open_after_a_pull(registry: Address, pull_from: Pull) -> None:
    push(registry, "leaks", "v1", image())
    pull_from(registry.host, "leaks:v1")
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(3):
        pull_from(registry.host, "leaks:v1")
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


def test_a_damaged_manifest_on_disk_is_fetched_again(registry: Address, store: BlobStore, pull_from: Pull) -> None:
    sample = image()
    push(registry, "damaged", "v1", sample)
    pull_from(registry.host, "damaged:v1")
    path = store.path(sample.digest)
    path.write_bytes(b"x" * path.stat().st_size)
    assert pull_from(registry.host, f"damaged@{sample.digest}").manifest == sample.content
    assert digest_of(path.read_bytes()) == sample.digest
