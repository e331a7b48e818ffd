"""Parts of this machine's own Debian, and a zoo of rarities: unpacked by us and by tar(1), then compared."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.store import layer_directories
from runtime.layout import Layout
from tests.images.trees import listing

pytestmark = pytest.mark.kernel

PARTS = ("etc", "usr/sbin", "usr/bin/su", "usr/bin/passwd", "usr/lib/terminfo")
XATTRS = ("--xattrs", "--xattrs-include=*", "--numeric-owner", "--acls")


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """What a Debian tree seldom has."""
    place = tmp_path / "source" / "zoo"
    place.mkdir(parents=True)
    (place / "capable").write_bytes(b"#!")
    os.setxattr(place / "capable", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    (place / "noted").write_text("x")
    os.setxattr(place / "noted", "user.note", b"\x00\xff binary")
    os.link(place / "noted", place / "noted-again")
    (place / "sticky").mkdir(mode=0o1777)
    (place / "setuid").write_text("x")
    os.chown(place / "setuid", 12345, 3_000_000_000)
    (place / "setuid").chmod(0o6755)
    (place / "aimed outside").symlink_to("/etc/shadow")
    (place / ("long-" * 40)).write_text("x")
    (place / os.fsdecode(b"caf\xe9")).write_text("x")
    os.mkfifo(place / "fifo")
    os.mknod(place / "null", 0o20666, os.makedev(1, 3))
    with (place / "sparse").open("wb") as sparse:
        sparse.seek(50_000_000)
        sparse.write(b"end")
    return place.parent


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_real_tree_is_unpacked_as_tar_unpacks_it(layout: Layout, zoo: Path, tmp_path: Path, form: str) -> None:
    parts = [part for part in PARTS if (Path("/") / part).exists()]
    made = tmp_path / "made.tar"
    words = ["tar", f"--format={form}", "--sparse", "--one-file-system", *(XATTRS if form == "posix" else ())]
    subprocess.run([*words, "-cf", made, "-C", zoo, "zoo", "-C", "/", *parts], check=True)
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "-xpf", made, *XATTRS, "-C", tmp_path / "tar"], check=True)
    record = ensure_image(layout, ImageWanted("tree", rootfs=made))
    ours = listing(layer_directories(layout, record)[0])
    theirs = listing(tmp_path / "tar")
    assert len(ours) > 500
    # tar(1) gives directories that the archive does not name the time of unpacking
    named = {line[0] for line in ours} - {
        b"",
        b"/usr",
        b"/usr/bin",
        b"/usr/lib",
        b"/var",
        b"/var/lib",
        b"/var/lib/dpkg",
    }
    assert [line for line in ours if line[0] in named] == [line for line in theirs if line[0] in named]
    assert [line[:2] for line in ours] == [line[:2] for line in theirs]
    assert (layer_directories(layout, record)[0] / "zoo/sparse").stat().st_blocks < 100


def test_a_directory_is_written_so_that_tar_unpacks_the_same(layout: Layout, zoo: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", "/usr/sbin", zoo / "sbin"], check=True)
    record = ensure_image(layout, ImageWanted("tree", rootfs=zoo))
    blob = layout.blobs / record.blobs[0].digest.replace(":", "/")
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "-xpf", blob, *XATTRS, "-C", tmp_path / "tar"], check=True)
    assert listing(tmp_path / "tar") == listing(zoo) == listing(layer_directories(layout, record)[0])
    assert record.layers == (record.blobs[0].digest,)
