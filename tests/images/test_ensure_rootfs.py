"""An image from a root file system: made once, found again, made anew when the directory or the config changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.images.blobs import BlobStore
from runtime.images.config import ImageConfig
from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.progress import Progress, Step
from runtime.images.store import damage, layer_directories, list_images, read_image, remove_image
from runtime.layout import Layout
from schemas.errors import Refused
from tests.images.trees import listing

pytestmark = pytest.mark.kernel

CONFIG = ImageConfig(cmd=("/bin/sh",), env=("PATH=/bin",), labels={"made": "here"})


@pytest.fixture
def tree(busybox_tree: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "rootfs"
    shutil.copytree(busybox_tree, copied, symlinks=True)
    return copied


def test_a_directory_becomes_an_image_whose_layer_holds_the_same_tree(layout: Layout, tree: Path) -> None:
    os.chown(tree / "home", 1234, 5678)
    record = ensure_image(layout, ImageWanted("box", rootfs=tree, config=CONFIG))
    assert record.config == CONFIG
    assert damage(layout, record) is None
    (unpacked,) = layer_directories(layout, record)
    assert listing(unpacked) == listing(tree)
    assert read_image(layout, "box") == record
    assert list_images(layout) == (record,)


def test_an_unchanged_directory_is_not_read_again(layout: Layout, tree: Path) -> None:
    steps: list[Progress] = []
    first = ensure_image(layout, ImageWanted("box", rootfs=tree, config=CONFIG), progress=steps.append)
    assert {step.step for step in steps} == {Step.READ, Step.UNPACK, Step.DONE}
    steps.clear()
    assert ensure_image(layout, ImageWanted("box", rootfs=tree, config=CONFIG), progress=steps.append) == first
    assert steps == []


def test_equal_trees_give_equal_images(layout: Layout, tree: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", tree, tmp_path / "again"], check=True)
    first = ensure_image(layout, ImageWanted("one", rootfs=tree, config=CONFIG))
    second = ensure_image(layout, ImageWanted("two", rootfs=tmp_path / "again", config=CONFIG))
    assert (first.digest, first.layers) == (second.digest, second.layers)


def test_a_changed_file_gives_a_new_layer_and_a_changed_config_only_a_new_config(layout: Layout, tree: Path) -> None:
    wanted = ImageWanted("box", rootfs=tree, config=CONFIG)
    first = ensure_image(layout, wanted)
    second = ensure_image(layout, replace(wanted, config=replace(CONFIG, cmd=("/bin/ls",))))
    assert second.layers == first.layers
    assert second.config_digest != first.config_digest
    (tree / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    third = ensure_image(layout, wanted)
    assert third.layers != first.layers
    assert third.config == CONFIG


def test_a_tar_of_a_tree_unpacks_to_that_tree(layout: Layout, tree: Path, tmp_path: Path) -> None:
    for mode, name in (("w", "plain.tar"), ("w:gz", "packed.tar.gz")):
        with tarfile.open(tmp_path / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(tree, ".")
        record = ensure_image(layout, ImageWanted("box", rootfs=tmp_path / name, config=CONFIG))
        assert listing(layer_directories(layout, record)[0]) == listing(tree)


def test_a_removed_layer_or_blob_is_noticed_and_made_again(layout: Layout, tree: Path) -> None:
    wanted = ImageWanted("box", rootfs=tree, config=CONFIG)
    record = ensure_image(layout, wanted)
    (unpacked,) = layer_directories(layout, record)
    for harm in (
        lambda: shutil.rmtree(unpacked.parent),
        lambda: shutil.rmtree(unpacked),
        lambda: shutil.rmtree(unpacked / "bin"),
        lambda: BlobStore(layout).delete(record.blobs[0].digest),
        lambda: BlobStore(layout).delete(record.config_digest),
        lambda: BlobStore(layout).path(record.blobs[0].digest).write_bytes(b"short"),
    ):
        harm()
        assert damage(layout, record) is not None
        assert ensure_image(layout, wanted).layers == record.layers
        assert damage(layout, record) is None
        assert listing(unpacked) == listing(tree)


def test_a_missing_root_file_system_is_refused_with_its_path(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"Image/box read rootfs: No such file or directory.*nowhere"):
        ensure_image(layout, ImageWanted("box", rootfs=tmp_path / "nowhere"))


def test_the_engine_does_not_swallow_itself(layout: Layout) -> None:
    with pytest.raises(Refused, match="contains the engine's own directory"):
        ensure_image(layout, ImageWanted("box", rootfs=layout.root.parent))


def test_two_sources_or_none_are_refused(layout: Layout, tree: Path) -> None:
    for wanted in (ImageWanted("box"), ImageWanted("box", ref="nginx", rootfs=tree)):
        with pytest.raises(Refused, match="name one of"):
            ensure_image(layout, wanted)


def test_a_removed_image_is_gone_and_removing_it_again_is_no_error(layout: Layout, tree: Path) -> None:
    ensure_image(layout, ImageWanted("box", rootfs=tree))
    remove_image(layout, "box")
    remove_image(layout, "box")
    assert read_image(layout, "box") is None
