"""Pushing to Debian's registry and to one that misbehaves; copying between registries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.images.blobs import BlobStore
from runtime.images.progress import Progress, Step, ignore
from runtime.images.registry import upload
from runtime.images.registry.push import PushWanted, copy, push
from runtime.images.registry.settings import RegistrySettings
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference
from tests.registry.conftest import AMD64, Pull, insecure
from tests.registry.distribution import docker_registry
from tests.registry.samples import Address, Sample, image, index, layer_tar, noise

Push = Callable[..., str]


@pytest.fixture
def push_to(store: BlobStore, settings: RegistrySettings) -> Push:
    """`push_to(host, "repository:tag", digest)` from the test's store over plain HTTP."""

    def push_image(host: str, name: str, digest: str, **more: object) -> str:
        wanted = PushWanted(Reference.parse(f"{host}/{name}"), digest, **more)  # type: ignore[arg-type]
        return push(store, wanted, settings=insecure(settings, host), progress=ignore)

    return push_image


def hold(store: BlobStore, sample: Sample) -> str:
    """The sample is in the store, and nowhere else."""
    for content in (*sample.blobs.values(), sample.content, *(each.content for each in sample.manifests)):
        store.add(content)
    for each in sample.manifests:
        hold(store, each)
    return sample.digest


def test_what_was_pushed_is_pulled_again(
    registry: Address, store: BlobStore, push_to: Push, pull_from: Pull, layout: Layout, tmp_path: Path
) -> None:
    digest = hold(store, image())
    assert push_to(registry.host, "pushed/one:1.0", digest) == digest
    for blob in list(store.digests()):
        store.delete(blob)
    assert pull_from(registry.host, "pushed/one:1.0").digest == digest
    assert all(store.has(blob) for blob in image().blobs)


def test_a_large_layer_goes_in_chunks(
    registry: Address, store: BlobStore, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch, pull_from: Pull
) -> None:
    monkeypatch.setattr(upload, "CHUNK", 100_000)
    sample = image(layer_tar({"noise": noise(1_050_000)}))
    told: list[Progress] = []
    wanted = PushWanted(Reference.parse(f"{registry.host}/pushed/chunks:1"), hold(store, sample))
    push(store, wanted, settings=insecure(settings, registry.host), progress=told.append)
    done = [each.done for each in told if each.subject == sample.largest and each.step is Step.PUSH]
    assert done == sorted(done) and len(done) > 9 and done[-1] == len(sample.blobs[sample.largest])
    assert pull_from(registry.host, "pushed/chunks:1").digest == sample.digest


def test_what_is_there_is_not_sent_again(registry: Address, store: BlobStore, push_to: Push) -> None:
    sample = image(layer_tar({"noise": noise(1000, seed=7)}))
    digest = hold(store, sample)
    push_to(registry.host, "pushed/twice:1", digest)
    # without its layers there is nothing to send
    for blob in sample.layers:
        store.path(blob).unlink()
    assert push_to(registry.host, "pushed/twice:2", digest) == digest


def test_a_blob_of_another_repository_is_mounted(registry: Address, store: BlobStore, push_to: Push) -> None:
    sample = image(layer_tar({"noise": noise(1000, seed=8)}))
    digest = hold(store, sample)
    push_to(registry.host, "pushed/source:1", digest)
    elsewhere = dict.fromkeys(sample.blobs, ("pushed/source",))
    for blob in sample.layers:
        store.path(blob).unlink()
    assert push_to(registry.host, "pushed/mounted:1", digest, elsewhere=elsewhere) == digest


def test_an_index_goes_with_its_images(registry: Address, store: BlobStore, push_to: Push, pull_from: Pull) -> None:
    sample = index({"linux/amd64": image(), "linux/arm64": image(layer_tar({"arm": b"1"}), architecture="arm64")})
    digest = hold(store, sample)
    assert push_to(registry.host, "pushed/both:1", digest) == digest
    pulled = pull_from(registry.host, "pushed/both:1", platform=replace(AMD64, architecture="arm64"))
    assert pulled.resolved == digest


def test_a_registry_that_knows_nobody_refuses_with_a_remedy(
    locked_registry: Address, store: BlobStore, push_to: Push
) -> None:
    with pytest.raises(Refused, match=r"push layer.*wants to know who asks.*log in with"):
        push_to(locked_registry.host, "pushed/locked:1", hold(store, image()))


def test_an_index_whose_images_are_not_here_is_refused(registry: Address, store: BlobStore, push_to: Push) -> None:
    sample = index({"linux/amd64": image()})
    with pytest.raises(Refused, match="is not on this machine; pull it first"):
        push_to(registry.host, "pushed/half:1", store.add(sample.content))


def test_an_image_is_copied_for_every_platform(
    registry: Address,
    store: BlobStore,
    settings: RegistrySettings,
    push_to: Push,
    tmp_path: Path,
    pull_from: Pull,
    layout: Layout,
) -> None:
    sample = index({"linux/amd64": image(), "linux/arm64": image(layer_tar({"arm": b"2"}), architecture="arm64")})
    push_to(registry.host, "copied/from:1", hold(store, sample))
    for blob in list(store.digests()):
        store.delete(blob)
    with docker_registry(tmp_path / "other") as other:
        source, target = (
            Reference.parse(f"{host}/copied/{name}:1") for host, name in ((registry.host, "from"), (other.host, "to"))
        )
        both = insecure(settings, registry.host, other.host)
        assert copy(store, source, target, settings=both, progress=ignore) == sample.digest
        assert not layout.layers.exists()  # nothing was unpacked
        for blob in list(store.digests()):
            store.delete(blob)
        assert pull_from(other.host, "copied/to:1").resolved == sample.digest
