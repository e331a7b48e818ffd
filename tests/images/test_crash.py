"""`ensure_image` killed at random moments: what is recorded is whole, and the next call finishes the work."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.images.collect import collect, tidy
from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.store import damage, layer_directories, list_images, remove_image
from runtime.layout import Layout
from tests.images.trees import directory, file, listing, make_layout, names, tar_of

pytestmark = pytest.mark.kernel

_MAKER = """
import sys
from pathlib import Path
from runtime.images.ensure import ImageWanted, ensure_image
from runtime.layout import Layout
root, archive = map(Path, sys.argv[1:])
ensure_image(Layout(root, root), ImageWanted("web", archive=archive))
"""


def layer(number: int) -> bytes:
    folders = [directory(f"l{number}/d{index}") for index in range(8)]
    files = [file(f"l{number}/d{index % 8}/f{index}", bytes([number]) * 4000) for index in range(600)]
    return tar_of(*folders, *files)


def test_a_killed_ensure_leaves_the_old_state_or_the_new(layout: Layout, tmp_path: Path) -> None:
    made = make_layout(tmp_path / "made", [layer(number) for number in range(3)])
    moments = random.Random(11)
    finished = 0
    for _ in range(12):
        words = [sys.executable, "-c", _MAKER, str(layout.root), str(made)]
        maker = subprocess.Popen(words, cwd=Path(__file__).parents[2])
        time.sleep(moments.uniform(0.1, 0.9))
        maker.kill()
        maker.wait()
        for record in list_images(layout):
            assert damage(layout, record) is None
            finished += 1
            remove_image(layout, "web")
            collect(layout, ())
    assert finished < 12
    record = ensure_image(layout, ImageWanted("web", archive=made))
    tidy(layout, ())
    assert damage(layout, record) is None
    assert len(names(layout.layers)) == 3
    assert [len(listing(place)) for place in layer_directories(layout, record)] == [610] * 3
    assert [name for name in names(layout.images) if not name.endswith(".new")] == ["leases", "web.json"]
    assert names(layout.blobs / "partial") == []
