"""The layer of a directory: always the same bytes, nothing of other file systems, readable by everybody."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.store import damage, read_image
from runtime.images.tarwriter import Member, end, header, write_tree
from runtime.layout import Layout
from schemas.errors import Refused, RetryLater
from tests.images.trees import listing, names

pytestmark = pytest.mark.kernel


def written(tree: Path) -> bytes:
    content = bytearray()
    write_tree(tree, content.extend)
    return bytes(content)


def members(content: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.getmembers()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    for name in ("b", "a", "c"):
        (place / name).mkdir(parents=True)
        (place / name / "file").write_text(name)
    return place


def test_names_are_sorted_and_the_top_comes_first(tree: Path) -> None:
    found = [member.name for member in members(written(tree))]
    assert found == [".", "a", "a/file", "b", "b/file", "c", "c/file"]


def test_the_order_in_which_a_directory_was_filled_does_not_matter(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("c", "a", "b"):
        subprocess.run(["cp", "-a", tree / name, other], check=True)
    subprocess.run(["touch", "-r", tree, other], check=True)
    assert written(other) == written(tree)


def test_sockets_are_left_out(tree: Path) -> None:
    before = [member.name for member in members(written(tree))]
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tree)
        listener.bind("socket")
        os.chdir(here)
        assert [member.name for member in members(written(tree))] == before


@pytest.fixture
def mounted(tree: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tree / "b"], check=True)
    (tree / "b/secret").write_text("of another file system")
    try:
        yield tree
    finally:
        subprocess.run(["umount", tree / "b"], check=True)


def test_what_is_mounted_inside_is_left_out(mounted: Path) -> None:
    found = [member.name for member in members(written(mounted))]
    assert found == [".", "a", "a/file", "b", "c", "c/file"]


def test_links_are_written_and_never_followed(tree: Path) -> None:
    (tree / "out").symlink_to("/etc")
    (tree / "again").hardlink_to(tree / "a/file")
    found = {member.name: member for member in members(written(tree))}
    assert (found["out"].type, found["out"].linkname) == (tarfile.SYMTYPE, "/etc")
    assert (found["again"].type, found["again"].linkname) == (tarfile.LNKTYPE, "a/file")


def test_extreme_headers_are_read_by_the_standard_library() -> None:
    extreme = Member(
        path=b"d/" * 120 + b"name",
        kind=b"2",
        mode=0o7777,
        uid=4_294_967_294,
        gid=3_000_000,
        mtime=-1,
        link=b"t" * 300,
    )
    (found,) = members(header(extreme) + end())
    assert found.name == extreme.path.decode()
    assert found.linkname == extreme.link.decode()
    assert (found.mode, found.uid, found.gid, found.mtime) == (0o7777, 4_294_967_294, 3_000_000, -1)


def test_a_size_beyond_8_gib_is_told() -> None:
    content = header(Member(b"big", b"0", size=9 << 30))
    assert b" size=9663676416\n" in content


def test_a_file_that_shrinks_while_it_is_read_is_retried_later(tree: Path) -> None:
    (tree / "a/file").write_bytes(bytes(3 << 20))

    def shrink(piece: bytes) -> None:
        if len(piece) == 1 << 20:
            os.truncate(tree / "a/file", 10)

    with pytest.raises(RetryLater, match="became shorter"):
        write_tree(tree, shrink)


# through the engine


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("size", [1_800_000, 5_000_000], ids=["while unpacking", "while reading"])
def test_a_full_disk_leaves_the_image_that_was_there(small_disk: Path, tree: Path, tmp_path: Path, size: int) -> None:
    layout = Layout(root=small_disk, run=tmp_path)
    wanted = ImageWanted("web", rootfs=tree)
    record = ensure_image(layout, wanted)
    before = tree.stat()
    (tree / "large").write_bytes(os.urandom(size))
    with pytest.raises(RetryLater, match=r"Image/web write: no space is left.*trimtab image rm"):
        ensure_image(layout, wanted)
    assert read_image(layout, "web") == record
    assert damage(layout, record) is None
    assert names(layout.blobs / "partial") == []
    (tree / "large").unlink()
    os.utime(tree, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ensure_image(layout, wanted).layers == record.layers


def test_a_file_system_without_room_for_xattrs_is_named(tmp_path: Path, tree: Path) -> None:
    """ramfs keeps no `user.*` attributes, which a layer can do without."""
    place = tmp_path / "ramfs"
    place.mkdir()
    os.setxattr(tree / "a/file", "user.note", b"x")
    subprocess.run(["mount", "-t", "ramfs", "ramfs", place], check=True)
    try:
        record = ensure_image(Layout(root=place, run=tmp_path), ImageWanted("web", rootfs=tree))
        assert record.size == 3
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_block_device_in_a_root_file_system_is_refused_by_name(layout: Layout, tree: Path) -> None:
    os.mknod(tree / "a/disk", 0o60600, os.makedev(8, 0))
    with pytest.raises(Refused, match="a block device node 8:0") as caught:
        ensure_image(layout, ImageWanted("web", rootfs=tree))
    assert caught.value.path == "a/disk"


def test_the_tree_is_only_read(layout: Layout, tree: Path) -> None:
    before = listing(tree)
    ensure_image(layout, ImageWanted("web", rootfs=tree))
    assert listing(tree) == before
