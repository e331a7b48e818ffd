"""Verifying the store: what a layer's tar does not say (when a deletion was marked, a directory made) is no damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.fsck import check_store
from runtime.images.layers import layer_tree
from runtime.layout import Layout
from tests.images.trees import directory, file, make_layout, tar_of

pytestmark = pytest.mark.kernel

BASE = tar_of(directory("etc"), file("etc/base", b"b"), file("etc/other", b"o"))
LAYERS = {
    "a deletion": tar_of(directory("etc"), file("etc/.wh.base", b"")),
    "a deletion in a directory that is only implied": tar_of(file("etc/.wh.base", b"")),
    "an opaque directory": tar_of(directory("etc"), file("etc/.wh..wh..opq", b""), file("etc/new", b"n")),
    "an implied directory": tar_of(file("etc/deep/new", b"n")),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_layer_as_it_was_unpacked_is_sound(layout: Layout, tmp_path: Path, layer: bytes) -> None:
    ensure_image(layout, ImageWanted("one", archive=make_layout(tmp_path / "one", [BASE, layer])))
    checked = check_store(layout)
    assert checked.damages == () and checked.layers >= 2


def test_a_file_in_the_place_of_a_deletion_is_damage(layout: Layout, tmp_path: Path) -> None:
    layer = LAYERS["a deletion"]
    record = ensure_image(layout, ImageWanted("one", archive=make_layout(tmp_path / "one", [BASE, layer])))
    mark = layer_tree(layout, record.layers[1]) / "etc" / "base"
    before = mark.parent.stat()
    mark.unlink()
    mark.touch()
    os.utime(mark.parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    (found,) = check_store(layout).damages
    assert found.digest == record.layers[1] and "/etc/base has another mode" in found.problem
