"""Images from a registry, from archives, from a root file system: brought, followed, repaired and taken away."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.prune import Pruning
from runtime.images.blobs import BlobStore
from runtime.images.layers import list_layers
from runtime.images.store import list_images, read_image
from tests.conftest import SLOWER, missing
from tests.machine.machine import Machine, told
from tests.machine.probe import attempt, container, document, own_machine, refusal, run
from tests.registry.distribution import docker_registry
from tests.registry.samples import Address, Sample, image, index, push

pytestmark = pytest.mark.kernel

COMMAND = ["/bin/sleep", "2147483647"]
PRUNE = Pruning(enabled=True, allow_empty=True)


def base_layer(tree: Path) -> bytes:
    """The static busybox and the names that the probes call it by."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        entry = tarfile.TarInfo("bin/busybox")
        program = (tree / "bin/busybox").read_bytes()
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
        for name in ("sh", "sleep", "cat", "ls"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return output.getvalue()


def version_layer(version: str) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        entry = tarfile.TarInfo("version")
        entry.size = len(version)
        tar.addfile(entry, io.BytesIO(version.encode()))
    return output.getvalue()


@dataclass(frozen=True)
class Shop:
    """An engine with a registry of its own, and the base layer of all images."""

    machine: Machine
    registry: Address
    base: bytes

    def sample(self, version: str, **more: Any) -> Sample:
        return image(self.base, version_layer(version), **more)

    def push(self, name: str, tag: str, version: str) -> str:
        return push(self.registry, name, tag, self.sample(version))

    def ref(self, name: str, tag: str = "1") -> str:
        return f"{self.registry.host}/{name}:{tag}"


@pytest.fixture(scope="module")
def shop(busybox_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with own_machine(busybox_tree) as machine, docker_registry(tmp_path_factory.mktemp("registry")) as registry:
        settings = f"registries: {{'{registry.host}': {{insecure: true}}}}\n"
        (machine.layout.root / "registries.yaml").write_text(settings)
        yield Shop(machine, registry, base_layer(busybox_tree))


@pytest.fixture(autouse=True)
def tidy(shop: Shop) -> Iterator[None]:
    """Each test with an engine that has no images."""
    yield
    for set_name in reversed(shop.machine.sets()):
        shop.machine.delete(set_name)
    shop.machine.delete()
    assert list_images(shop.machine.layout) == ()
    assert list_layers(shop.machine.layout) == ()
    assert list(BlobStore(shop.machine.layout).digests()) == []


def box(image_name: str, name: str = "box", **spec: Any) -> str:
    return container(name, image=image_name, entrypoint=COMMAND, **spec)


def version(shop: Shop, name: str = "box") -> str:
    return run(shop.machine, name, "/bin/cat", "/version")


def test_a_declared_reference_is_pulled(shop: Shop) -> None:
    shop.push("web", "1", "one")
    shop.machine.converge(document("Image", "web", ref=shop.ref("web")) + box("web"))
    assert version(shop) == "one"


def test_a_container_may_name_a_reference_itself(shop: Shop) -> None:
    shop.push("web", "2", "two")
    shop.push("web-2", "1", "other")
    shop.machine.converge(box(shop.ref("web", "2")) + box(shop.ref("web-2"), "other"))
    assert (version(shop), version(shop, "other")) == ("two", "other")


def test_a_tag_that_moved_is_noticed_where_the_policy_is_always(shop: Shop) -> None:
    shop.push("moving", "1", "one")
    text = document("Image", "moving", ref=shop.ref("moving"), pull_policy="always") + box("moving")
    shop.machine.converge(text)
    shop.push("moving", "1", "two")
    plan = shop.machine.diff(text)
    assert any("source: changed → unchanged" in line for line in told(plan)), told(plan)
    shop.machine.converge(text)
    assert version(shop) == "two"


def test_a_tag_that_moved_is_left_alone_where_the_policy_is_missing(shop: Shop) -> None:
    shop.push("still", "1", "one")
    text = box(shop.ref("still"), pull_policy="missing")
    shop.machine.converge(text)
    shop.push("still", "1", "two")
    assert told(shop.machine.diff(text)) == []
    assert version(shop) == "one"


def test_a_registry_that_is_down_leaves_what_runs_alone(shop: Shop) -> None:
    shop.push("down", "1", "one")
    text = document("Image", "down", ref=shop.ref("down"), pull_policy="always") + box("down")
    shop.machine.converge(text)
    settings = shop.machine.layout.root / "registries.yaml"
    kept = settings.read_text()
    settings.write_text(kept.replace("insecure: true", "insecure: false"))
    try:
        assert told(shop.machine.diff(text)) == []
    finally:
        settings.write_text(kept)


def test_never_pulls_nothing(shop: Shop) -> None:
    shop.push("never", "1", "one")
    said = refusal(shop.machine, box(shop.ref("never"), pull_policy="never"))
    assert "is not on this machine, and `pull_policy` is never" in said


def test_an_image_that_cannot_be_pulled_ends_nothing_that_runs(shop: Shop) -> None:
    shop.push("good", "1", "one")
    shop.machine.converge(box(shop.ref("good")))
    before = shop.machine.process("box").pid
    refusal(shop.machine, box(shop.ref("good", "no-such-tag")))
    assert shop.machine.process("box").pid == before
    assert version(shop) == "one"


def test_a_digest_pins_the_image_whatever_the_tag_says(shop: Shop) -> None:
    digest = shop.push("pinned", "1", "one")
    shop.push("pinned", "1", "two")
    shop.machine.converge(box(f"{shop.registry.host}/pinned@{digest}"))
    assert version(shop) == "one"


def test_this_machines_platform_is_taken_and_another_only_where_it_is_said(shop: Shop) -> None:
    images = index({"linux/amd64": shop.sample("amd64"), "linux/arm64": shop.sample("arm64", architecture="arm64")})
    push(shop.registry, "many", "1", images)
    ours, theirs = (
        document("Image", "ours", ref=shop.ref("many")),
        document("Image", "theirs", ref=shop.ref("many"), platform="linux/arm64"),
    )
    shop.machine.converge(ours + theirs)
    have = {name: read_image(shop.machine.layout, name) for name in ("ours", "theirs")}
    assert {name: record.platform.architecture for name, record in have.items() if record} == {
        "ours": "amd64",
        "theirs": "arm64",
    }
    shop.machine.delete()
    alone = index({"linux/arm64": shop.sample("arm64", architecture="arm64")})
    push(shop.registry, "foreign", "1", alone)
    assert "linux/amd64" in refusal(shop.machine, document("Image", "foreign", ref=shop.ref("foreign")))


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci"])
def test_an_archive_is_loaded_and_followed(shop: Shop, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "image"
    write_archive(shop, kind, place, "one")
    text = document("Image", "stored", archive=str(place)) + box("stored")
    shop.machine.converge(text)
    assert version(shop) == "one"
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert told(shop.machine.diff(text)) == []
    write_archive(shop, kind, place, "another")
    assert any("source: changed → unchanged" in line for line in told(shop.machine.diff(text)))
    shop.machine.converge(text)
    assert version(shop) == "another"


def write_archive(shop: Shop, kind: str, place: Path, content: str) -> None:
    if shutil.which("skopeo") is None:
        missing("skopeo (Debian package skopeo)")
    shop.push("archived", content, content)
    source = f"docker://{shop.ref('archived', content)}"
    copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", source, f"{kind}:{place}"]
    subprocess.run(copy, check=True, capture_output=True, timeout=60 * SLOWER)


def unpacked(shop: Shop, directory: Path, content: str) -> None:
    """The base layer as a directory `root`, with that version."""
    (directory / "root").mkdir()
    subprocess.run(["tar", "-x", "-C", str(directory / "root")], input=shop.base, check=True)
    (directory / "root/version").write_text(content)


def test_a_root_file_system_may_be_a_directory_or_a_tar(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(shop.base)
    unpacked(shop, tmp_path, "directory")
    config = {"entrypoint": COMMAND, "labels": {"of": "ours"}}
    shop.machine.converge(
        document("Image", "tarred", rootfs=str(tmp_path / "root.tar"), config=config)
        + document("Image", "plain", rootfs=str(tmp_path / "root"), config=config)
        + container("from-tar", image="tarred")
        + container("from-directory", image="plain")
    )
    assert attempt(shop.machine, "from-tar", "/bin/ls", "/version")[0] != 0
    assert run(shop.machine, "from-directory", "/bin/cat", "/version") == "directory"


def test_a_changed_root_file_system_replaces_what_runs_it(shop: Shop, tmp_path: Path) -> None:
    unpacked(shop, tmp_path, "small")
    text = document("Image", "grown", rootfs=str(tmp_path / "root")) + box("grown")
    shop.machine.converge(text)
    (tmp_path / "root/version").write_text("grown")
    shop.machine.converge(text)
    assert version(shop) == "grown"


def test_a_container_keeps_its_root_when_its_image_changes_in_another_set(shop: Shop, tmp_path: Path) -> None:
    unpacked(shop, tmp_path, "old")
    declared = document("Image", "shared", rootfs=str(tmp_path / "root"))
    shop.machine.converge(declared)
    shop.machine.converge(box("shared"), "guests")
    (tmp_path / "root/version").write_text("new")
    shop.machine.converge(declared)
    assert version(shop) == "old"
    shop.machine.delete("guests")


def test_an_image_that_goes_takes_its_blobs_along_but_not_those_of_others(shop: Shop) -> None:
    shop.push("one", "1", "one")
    shop.push("two", "1", "two")
    both = document("Image", "one", ref=shop.ref("one")) + document("Image", "two", ref=shop.ref("two"))
    shop.machine.converge(both)
    assert len(list_layers(shop.machine.layout)) == 3
    shop.machine.converge(document("Image", "two", ref=shop.ref("two")) + box("two"), pruning=PRUNE)
    assert [record.name for record in list_images(shop.machine.layout)] == ["two"]
    layers = {"sha256:" + hashlib.sha256(layer).hexdigest() for layer in (shop.base, version_layer("two"))}
    assert set(list_layers(shop.machine.layout)) == layers
    assert version(shop) == "two"


def test_an_image_still_in_use_by_another_set_stays(shop: Shop) -> None:
    shop.push("kept", "1", "kept")
    shop.machine.converge(document("Image", "kept", ref=shop.ref("kept")))
    shop.machine.converge(box("kept"), "guests")
    shop.machine.delete()
    assert [record.name for record in list_images(shop.machine.layout)] == ["kept"]
    assert version(shop) == "kept"
    shop.machine.delete("guests")


def test_a_name_that_is_neither_an_image_nor_a_reference_is_refused_with_its_place(shop: Shop) -> None:
    said = refusal(shop.machine, box("0._0"))
    assert "Container/box spec.image: there is no Image 0._0" in said
