"""What the watermarks do to a store: the oldest unused image goes; what a manifest, container or lease names stays."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.engine import Engine, open_engine
from reconciler.freeing import Disk, Marks
from reconciler.perform import freeing
from reconciler.store.events import read_events
from runtime.images.blobs import BlobStore
from runtime.images.ensure import ensure_image
from runtime.images.leases import Lease
from runtime.images.store import list_images, write_image
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.names import Key, Kind

pytestmark = pytest.mark.kernel
TOTAL = 20_000_000


@pytest.fixture
def engine(layout: Layout, tmp_path: Path) -> Iterator[Engine]:
    """With images of a megabyte each, made one after the other."""
    with open_engine(layout) as made:
        for number, name in enumerate(("declared", "old", "younger", "newest"), 1):
            rootfs = tmp_path / name
            rootfs.mkdir()
            (rootfs / "file").write_bytes(name.encode() * (1_000_000 // len(name)))
            record = ensure_image(layout, ImageWanted(name, rootfs=rootfs))
            age = 0.0 if name == "newest" else 1000.0 * (5 - number)
            write_image(layout, replace(record, made_at=record.made_at - age))
        yield made


def names(engine: Engine) -> set[str]:
    return {image.name for image in list_images(engine.layout)}


def filled(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(freeing, "read_disk", lambda layout: Disk(TOTAL, int(TOTAL * share)))
    inventory = {Key(Kind.IMAGE, "declared"): None}
    monkeypatch.setattr(freeing, "read_inventory", lambda database: inventory)


MARKS = Marks(high=0.85, low=0.80, least_age=120)


def test_below_the_high_mark_nothing_is_touched(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(monkeypatch, 0.84)
    assert freeing.free(engine, MARKS) is None
    assert names(engine) == {"declared", "old", "younger", "newest"}


def test_the_oldest_that_nobody_names_goes_until_the_low_mark_is_reached(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(monkeypatch, 0.86)
    collected = freeing.free(engine, MARKS)
    assert collected is not None and collected.bytes >= 1_000_000
    assert names(engine) == {"declared", "younger", "newest"}
    (event,) = [event for event in read_events(engine.database) if event.reason == "Collected"]
    assert event.object == "Image/old" and "85%" in event.message


def test_a_young_one_and_a_declared_one_stay_however_full_it_is(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(monkeypatch, 1.0)
    freeing.free(engine, MARKS)
    assert names(engine) == {"declared", "newest"}


def test_what_work_under_way_has_a_lease_of_stays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(monkeypatch, 1.0)
    (old,) = [image for image in list_images(engine.layout) if image.name == "old"]
    with Lease(engine.layout) as lease:
        store = BlobStore(engine.layout, lease)
        assert store.has(old.blobs[0].digest)
        freeing.free(engine, MARKS)
        assert store.path(old.blobs[0].digest).exists()
    assert "old" not in names(engine)


def test_the_disk_is_counted_as_df_counts_it(layout: Layout) -> None:
    found = freeing.read_disk(layout)
    told = subprocess.run(
        ["df", "--block-size=1", "--output=used,avail", str(layout.root)], capture_output=True, text=True, check=True
    )
    used, free = map(int, told.stdout.split()[-2:])
    # others write to the disk meanwhile
    assert abs(found.used - used) < 1 << 30 and abs(found.total - used - free) < 1 << 30
