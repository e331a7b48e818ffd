"""Layers through the real child: whole or not at all, whatever is killed, full, or done twice at once."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from backports import zstd

from runtime.images.digests import digest_of
from runtime.images.layers import layer_damage, layer_tree, read_layer
from runtime.images.limits import Limits
from runtime.images.unpack import LayerWanted, ensure_layer, ensure_layers
from runtime.layout import Layout
from schemas.errors import Refused, RetryLater
from tests.images.trees import directory, file, listing, names, symlink, tar_of

pytestmark = pytest.mark.kernel


class Nobody:
    """A keeper for tests that collect nothing."""

    def add(self, digest: str) -> None: ...


def blob(place: Path, content: bytes, name: str = "blob") -> LayerWanted:
    (place / name).write_bytes(content)
    return LayerWanted(place / name, None, digest_of(content))


def many_files(count: int = 3000) -> bytes:
    folders = [directory(f"d{index}") for index in range(count // 100)]
    return tar_of(*folders, *(file(f"d{index % len(folders)}/f{index}", b"x" * 3000) for index in range(count)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_a_layer_is_unpacked_and_recorded_under_its_diff_id(layout: Layout, tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    content = tar_of(directory("a"), file("a/b", b"x" * 100_000), file("c/d", b""))
    record = ensure_layer(layout, blob(tmp_path, pack(content)), Limits(), Nobody())
    assert record.diff_id == digest_of(content)
    assert (record.entries, record.bytes, record.implied) == (3, 100_000, ("", "c"))
    assert read_layer(layout, record.diff_id) == record
    assert (layer_tree(layout, record.diff_id) / "a/b").stat().st_size == 100_000
    assert names(layout.layers) == [record.diff_id.removeprefix("sha256:")]


def test_members_and_frames_one_after_another_and_padding_are_read(layout: Layout, tmp_path: Path) -> None:
    content = tar_of(file("a", os.urandom(3_000_000)), file("b", b"end"))
    parts = [content[start : start + 700_000] for start in range(0, len(content), 700_000)]
    for pack in (gzip.compress, zstd.compress):
        packed = b"".join(pack(part) for part in parts)
        for ending in (b"", bytes(4000)):
            record = ensure_layer(layout, blob(tmp_path, packed + ending), Limits(), Nobody())
            assert record.diff_id == digest_of(content)


def skippable(content: bytes) -> bytes:
    """A frame that decompressors pass over (RFC 8878, 3.1.2)."""
    return b"\x50\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


def test_zstd_chunked_is_read_as_zstd_its_table_passed_over(layout: Layout, tmp_path: Path) -> None:
    content = tar_of(directory("a"), file("a/b", os.urandom(300_000)), file("c", b"end"))
    parts = [content[start : start + 100_000] for start in range(0, len(content), 100_000)]
    frames = b"".join(zstd.compress(part) for part in parts)
    table = skippable(zstd.compress(b'{"version": 1, "entries": []}'))
    footer = skippable(len(frames).to_bytes(8, "little") + bytes(32) + b"GNUlInUx" + bytes(16))
    record = ensure_layer(layout, blob(tmp_path, frames + table + footer), Limits(), Nobody())
    assert record.diff_id == digest_of(content)
    assert (layer_tree(layout, record.diff_id) / "c").read_bytes() == b"end"


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_damaged_and_cut_off_streams_are_refused_and_leave_nothing(
    layout: Layout, tmp_path: Path, pack: object
) -> None:
    assert callable(pack)
    content = tar_of(file("a", random.Random(1).randbytes(200_000)))
    whole = pack(content)
    for broken in (whole[:-20], whole[: len(whole) // 2], whole[:1000] + b"\xff" * 50 + whole[1050:], whole + b"tail"):
        layer = LayerWanted(blob(tmp_path, broken).blob, digest_of(content))
        with pytest.raises(Refused, match=r"cut off|damaged|and the image says"):
            ensure_layer(layout, layer, Limits(), Nobody())
        assert names(layout.layers) == []


def test_other_compressions_are_refused_by_name(layout: Layout, tmp_path: Path) -> None:
    for magic, name in ((b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"PK\x03\x04", "zip")):
        with pytest.raises(Refused, match=f"compressed with {name}"):
            ensure_layer(layout, blob(tmp_path, magic + bytes(600)), Limits(), Nobody())


def test_a_tar_whose_first_name_looks_like_another_format_is_a_tar(layout: Layout, tmp_path: Path) -> None:
    record = ensure_layer(layout, blob(tmp_path, tar_of(file("BZhistory", b"x"))), Limits(), Nobody())
    assert names(layer_tree(layout, record.diff_id)) == ["BZhistory"]


def test_a_bomb_meets_the_ratio_before_the_disk_is_full(layout: Layout, tmp_path: Path) -> None:
    bomb = gzip.compress(tar_of(file("zeros", bytes(60 << 20))), 9)
    limits = Limits(ratio=100, ratio_from=8 << 20)
    with pytest.raises(Refused, match="more than 100 times its size: a decompression bomb") as caught:
        ensure_layer(layout, blob(tmp_path, bomb), limits, Nobody())
    assert "ratio" in caught.value.hint
    assert names(layout.layers) == []
    assert ensure_layer(layout, blob(tmp_path, bomb), Limits(), Nobody()).bytes == 60 << 20


def test_a_hostile_layer_is_refused_with_the_name_of_its_entry(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"climbs with '\.\.'") as caught:
        ensure_layer(layout, blob(tmp_path, tar_of(file("ok"), file("../evil"))), Limits(), Nobody())
    assert (caught.value.path, caught.value.step) == ("../evil", "unpack")
    assert names(layout.layers) == []


def test_a_link_to_a_path_of_the_host_leads_nowhere_in_the_child(layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "host"
    target.mkdir()
    layer = blob(tmp_path, tar_of(symlink("out", str(target)), file("out/x", b"evil")))
    record = ensure_layer(layout, layer, Limits(), Nobody())
    assert names(target) == []
    assert (layer_tree(layout, record.diff_id) / str(target)[1:] / "x").read_bytes() == b"evil"


def test_a_layer_that_is_there_is_not_unpacked_again(layout: Layout, tmp_path: Path) -> None:
    first = ensure_layer(layout, blob(tmp_path, tar_of(file("a"))), Limits(), Nobody())
    nowhere = LayerWanted(tmp_path / "nowhere", first.diff_id, "")
    assert ensure_layer(layout, nowhere, Limits(), Nobody()) == first


def test_layers_come_back_in_order_also_where_one_stands_twice(layout: Layout, tmp_path: Path) -> None:
    one, two = (blob(tmp_path, tar_of(file(name)), name) for name in ("one", "two"))
    records = ensure_layers(layout, [one, two, one], Limits(), Nobody())
    assert records[0] == records[2] != records[1]
    assert ensure_layers(layout, [], Limits(), Nobody()) == ()


def test_makers_of_one_layer_at_once_get_one_layer(layout: Layout, tmp_path: Path) -> None:
    content = many_files(500)
    known = LayerWanted(blob(tmp_path, content).blob, digest_of(content), digest_of(content))
    unknown = blob(tmp_path, content)
    found: list[object] = []

    def ensure(layer: LayerWanted) -> None:
        try:
            found.append(ensure_layer(layout, layer, Limits(), Nobody()).diff_id)
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=ensure, args=(layer,)) for layer in (known, unknown) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [digest_of(content)] * 6
    assert names(layout.layers) == [digest_of(content).removeprefix("sha256:")]
    assert layer_damage(layout, digest_of(content)) is None


def test_a_replaced_layer_is_put_aside_for_the_container_that_stands_on_it(layout: Layout, tmp_path: Path) -> None:
    layer = blob(tmp_path, tar_of(file("a", b"x"), file("b", b"y")))
    record = ensure_layer(layout, layer, Limits(), Nobody())
    with (layer_tree(layout, record.diff_id) / "a").open("rb") as opened:
        (layer_tree(layout, record.diff_id) / "b").unlink()
        assert "changed by hand" in str(layer_damage(layout, record.diff_id))
        ensure_layer(layout, layer, Limits(), Nobody())
        assert layer_damage(layout, record.diff_id) is None
        assert opened.read() == b"x"
        assert os.fstat(opened.fileno()).st_nlink == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_and_what_was_there_stays(small_disk: Path, tmp_path: Path) -> None:
    layout = Layout(root=small_disk, run=tmp_path)
    kept = ensure_layer(layout, blob(tmp_path, tar_of(file("small", b"x"))), Limits(), Nobody())
    before = listing(layer_tree(layout, kept.diff_id))
    with pytest.raises(RetryLater, match="no space is left"):
        ensure_layer(layout, blob(tmp_path, tar_of(file("large", bytes(8 << 20)))), Limits(), Nobody())
    assert names(layout.layers) == [kept.diff_id.removeprefix("sha256:")]
    assert listing(layer_tree(layout, kept.diff_id)) == before
    assert layer_damage(layout, kept.diff_id) is None


def test_a_blob_that_is_gone_is_retried_later(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(RetryLater, match="blob is gone"):
        ensure_layer(layout, LayerWanted(tmp_path / "gone", None, "gone"), Limits(), Nobody())


_MAKER = """
import sys
from pathlib import Path
from runtime.images.limits import Limits
from runtime.images.unpack import LayerWanted, ensure_layer
from runtime.layout import Layout
class Nobody:
    def add(self, digest): ...
root, blob, diff_id = sys.argv[1:]
ensure_layer(Layout(Path(root), Path(root)), LayerWanted(Path(blob), diff_id, diff_id), Limits(), Nobody())
"""


def test_a_maker_killed_at_any_moment_leaves_no_half_layer(layout: Layout, tmp_path: Path) -> None:
    """Twenty rounds, each killed at a random moment: maker and child together, or the maker alone."""
    content = many_files()
    layer = LayerWanted(blob(tmp_path, content).blob, digest_of(content), digest_of(content))
    expected = None
    whole = 0
    moments = random.Random(5)
    for round_ in range(20):
        maker = subprocess.Popen(
            [sys.executable, "-c", _MAKER, str(layout.root), str(layer.blob), digest_of(content)],
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
        time.sleep(moments.uniform(0.05, 0.6))
        if round_ % 2:
            os.killpg(maker.pid, signal.SIGKILL)
        else:
            maker.kill()
        maker.wait()
        if layer_damage(layout, layer.diff_id or "") is None:
            whole += 1
            expected = expected or listing(layer_tree(layout, layer.diff_id or ""))
            assert listing(layer_tree(layout, layer.diff_id or "")) == expected
            remove(layer_tree(layout, layer.diff_id or "").parent)
    record = ensure_layer(layout, layer, Limits(), Nobody())
    assert record.entries == 3030
    assert expected in (None, listing(layer_tree(layout, record.diff_id)))
    assert names(layout.layers) == [record.diff_id.removeprefix("sha256:")]
    assert whole < 20


def remove(place: Path) -> None:
    subprocess.run(["rm", "-rf", place], check=True)


def test_memory_stays_bounded_however_large_the_layer(layout: Layout, tmp_path: Path) -> None:
    content = gzip.compress(tar_of(file("large", random.Random(3).randbytes(1 << 20) * 50)), 1)
    peak = peak_of_child(layout, blob(tmp_path, content))
    assert peak < 64 << 20


def peak_of_child(layout: Layout, layer: LayerWanted) -> int:
    """Bytes of the child's largest resident set, looked at while it works."""
    peaks = [0]

    def look(_name: str, _done: int, _total: int) -> None:
        for pid in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks.append(int(line.split()[1]) * 1024)

    ensure_layer(layout, layer, Limits(), Nobody(), look)
    assert len(peaks) > 1
    return max(peaks)
