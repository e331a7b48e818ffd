"""Mark and sweep: what records, leases and containers name stays; the rest, and what killed makers left, goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.images.blobs import BlobStore
from runtime.images.collect import PARTIAL_SECONDS, collect, disk_usage, named_digests, tidy
from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.layers import layer_path, layer_tree, list_layers
from runtime.images.leases import Lease
from runtime.images.locks import lock
from runtime.images.record import ImageRecord
from runtime.images.store import damage, image_path, layer_directories, remove_image
from runtime.layout import Layout
from schemas.errors import Refused
from tests.images.trees import directory, file, make_layout, names, tar_of

pytestmark = pytest.mark.kernel

BASE = tar_of(directory("etc"), file("etc/base", b"b" * 1000))
ONE = tar_of(directory("etc"), file("etc/one", b"1" * 500))
TWO = tar_of(directory("etc", 0o700), file("etc/two", b"2" * 300))
IMPLIES = tar_of(file("etc/implied", b"i"))


def image(layout: Layout, tmp_path: Path, name: str, *layers: bytes) -> ImageRecord:
    return ensure_image(layout, ImageWanted(name, archive=make_layout(tmp_path / name, layers)))


def test_what_records_name_stays_and_the_rest_goes(layout: Layout, tmp_path: Path) -> None:
    one = image(layout, tmp_path, "one", BASE, ONE)
    two = image(layout, tmp_path, "two", BASE, TWO, IMPLIES)
    assert two.mended
    assert collect(layout, ()).layers == ()
    remove_image(layout, "two")
    gone = collect(layout, ())
    assert set(gone.layers) == {two.layers[1], two.layers[2], two.mended}
    assert set(gone.blobs) == (named_digests(two) - named_digests(one))
    assert gone.bytes > 0
    assert damage(layout, one) is None
    remove_image(layout, "one")
    collect(layout, ())
    assert (list(BlobStore(layout).digests()), list_layers(layout)) == ([], ())
    assert names(layout.layers) == []


def test_layers_that_containers_stand_on_stay(layout: Layout, tmp_path: Path) -> None:
    record = image(layout, tmp_path, "one", BASE, ONE)
    remove_image(layout, "one")
    gone = collect(layout, record.layers)
    assert gone.layers == ()
    assert all(path.is_dir() for path in layer_directories(layout, record))


def test_a_lease_keeps_what_it_was_told_of_until_its_maker_ends(layout: Layout, tmp_path: Path) -> None:
    store = BlobStore(layout)
    digest = store.add(b"in flight")
    with Lease(layout) as lease:
        assert BlobStore(layout, lease).has(digest)
        assert collect(layout, ()).blobs == ()
    assert collect(layout, ()).blobs == (digest,)


_LEASER = """
import sys, time
from pathlib import Path
from runtime.images.leases import Lease
from runtime.layout import Layout
with Lease(Layout(Path(sys.argv[1]), Path(sys.argv[1]))) as lease:
    lease.add(sys.argv[2])
    print("leased", flush=True)
    time.sleep(60)
"""


def test_a_killed_makers_lease_ends_with_it(layout: Layout) -> None:
    digest = BlobStore(layout).add(b"in flight")
    words = [sys.executable, "-c", _LEASER, str(layout.root), digest]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as maker:
        assert maker.stdout
        assert maker.stdout.readline() == b"leased\n"
        assert collect(layout, ()).blobs == ()
        maker.kill()
    assert collect(layout, ()).blobs == (digest,)
    assert names(layout.images / "leases") == ["lock"]


def test_nothing_is_removed_while_a_record_cannot_be_read(layout: Layout, tmp_path: Path) -> None:
    record = image(layout, tmp_path, "one", BASE)
    image_path(layout, "one").write_text("{")
    with pytest.raises(Refused, match="cannot be read"):
        collect(layout, ())
    assert damage(layout, record) is None


def test_what_killed_makers_left_goes_and_what_living_ones_hold_stays(layout: Layout) -> None:
    for name in ("dead.partial", "alive.partial"):
        (layout.layers / name / "tree").mkdir(parents=True)
    fd = os.open(layout.layers / "alive.partial", os.O_RDONLY)
    try:
        lock(fd)
        tidy(layout, ())
        assert names(layout.layers) == ["alive.partial"]
    finally:
        os.close(fd)
    tidy(layout, ())
    assert names(layout.layers) == []


def test_broken_off_downloads_wait_a_day_and_nameless_ones_do_not(layout: Layout) -> None:
    store = BlobStore(layout)
    digest = "sha256:" + "0" * 64
    with store.write(digest) as writer:
        writer.write(b"half")
    (layout.blobs / "partial/new-1-00").write_bytes(b"nameless")
    with store.write() as living:
        living.write(b"x")
        tidy(layout, ())
        assert len(list(store.partials())) == 2
    (partial,) = store.partials()
    then = time.time() - PARTIAL_SECONDS - 1
    os.utime(partial, (then, then))
    tidy(layout, ())
    assert list(store.partials()) == []


def test_a_replaced_layer_goes_once_no_container_stands_on_it(layout: Layout, tmp_path: Path) -> None:
    record = image(layout, tmp_path, "one", BASE)
    (layer_tree(layout, record.layers[0]) / "etc").rename(layer_tree(layout, record.layers[0]) / "moved")
    ensure_image(layout, ImageWanted("one", archive=tmp_path / "one"))
    assert len(names(layout.layers)) == 2
    collect(layout, record.layers)
    assert len(names(layout.layers)) == 2
    collect(layout, ())
    assert names(layout.layers) == [layer_path(layout, record.layers[0]).name]


def test_sizes_count_what_is_shared_once(layout: Layout, tmp_path: Path) -> None:
    one = image(layout, tmp_path, "one", BASE, ONE)
    two = image(layout, tmp_path, "two", BASE, TWO)
    assert one.size == 1500
    usage = disk_usage(layout, ())
    assert usage.layers == 1800
    assert usage.reclaimable == 0
    remove_image(layout, "two")
    after = disk_usage(layout, ())
    assert after.reclaimable == 300 + len(TWO) + sum(
        BlobStore(layout).size(digest) or 0 for digest in (two.digest, two.config_digest)
    )
    assert collect(layout, ()).bytes == after.reclaimable
    assert disk_usage(layout, ()).reclaimable == 0
