"""Implied directories must show the metadata of the layers below: judged by a real overlay mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.store import damage, layer_directories
from runtime.layout import Layout
from tests.images.trees import Member, directory, file, make_layout, names, symlink, tar_of

pytestmark = pytest.mark.kernel

BASE = tar_of(
    directory("./", 0o755, mtime=50),
    directory("tmp", 0o1777, mtime=100),
    directory("srv", 0o750, uid=33, gid=34),
    directory("srv/data", 0o2770, uid=5, gid=6),
    directory("plain", mtime=100),
)


@contextmanager
def mounted(layout: Layout, tmp_path: Path, *layers: bytes) -> Iterator[Path]:
    """The image of these layers (lowest first) as a container sees it."""
    made = make_layout(tmp_path / f"made{len(names(tmp_path))}", layers)
    record = ensure_image(layout, ImageWanted("web", archive=made))
    assert damage(layout, record) is None
    directories = layer_directories(layout, record)
    lower = ":".join(map(str, directories))
    place = tmp_path / f"mount{len(names(tmp_path))}"
    for name in ("upper", "work", "root"):
        (place / name).mkdir(parents=True)
    top = directories[0].stat()  # overlay shows the upper directory's own metadata at the top
    os.chown(place / "upper", top.st_uid, top.st_gid)
    (place / "upper").chmod(top.st_mode & 0o7777)
    words = f"lowerdir={lower},upperdir={place}/upper,workdir={place}/work"
    # newer mount(8) hands on each option by fsconfig(2), which takes at most 255 bytes
    old_call = os.environ | {"LIBMOUNT_FORCE_MOUNT2": "always"}
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", words, place / "root"], check=True, env=old_call)
    try:
        yield place / "root"
    finally:
        subprocess.run(["umount", place / "root"], check=True)


def metadata(path: Path) -> tuple[int, int, int]:
    seen = path.lstat()
    return (seen.st_mode & 0o7777, seen.st_uid, seen.st_gid)


def test_an_implied_directory_shows_the_metadata_of_the_layer_below(layout: Layout, tmp_path: Path) -> None:
    upper = tar_of(file("tmp/x", b"x"), file("srv/data/y", b"y"), file("plain/z", b"z"), file("new/w", b"w"))
    with mounted(layout, tmp_path, BASE, upper) as root:
        assert metadata(root / "tmp") == (0o1777, 0, 0)
        assert int((root / "tmp").stat().st_mtime) == 100
        assert metadata(root / "srv") == (0o750, 33, 34)
        assert metadata(root / "srv/data") == (0o2770, 5, 6)
        assert metadata(root / "new") == (0o755, 0, 0)
        assert [(root / name).read_bytes() for name in ("tmp/x", "srv/data/y", "plain/z", "new/w")] == [
            b"x",
            b"y",
            b"z",
            b"w",
        ]


def test_the_same_layer_over_another_base_shows_that_bases_metadata(layout: Layout, tmp_path: Path) -> None:
    upper = tar_of(file("tmp/x", b"x"))
    for mode in (0o1777, 0o700, 0o755):
        with mounted(layout, tmp_path, tar_of(directory("tmp", mode, uid=mode)), upper) as root:
            assert metadata(root / "tmp") == (mode, mode, 0)


def test_what_a_layer_says_itself_is_not_overruled(layout: Layout, tmp_path: Path) -> None:
    says = tar_of(directory("tmp", 0o711), file("tmp/x", b""))
    implies = tar_of(file("tmp/y", b""))
    with mounted(layout, tmp_path, BASE, says, implies) as root:
        assert metadata(root / "tmp") == (0o711, 0, 0)
    with mounted(layout, tmp_path, BASE, implies, says) as root:
        assert metadata(root / "tmp") == (0o711, 0, 0)


def test_an_image_that_needs_no_mending_gets_no_layer_more(layout: Layout, tmp_path: Path) -> None:
    stacks = (
        [BASE],
        [BASE, tar_of(directory("tmp", 0o1777), file("tmp/x"))],
        [BASE, tar_of(file("plain/x"), file("new/y"))],
        [tar_of(file("a/b")), BASE],
    )
    for number, layers in enumerate(stacks):
        made = make_layout(tmp_path / str(number), layers)
        record = ensure_image(layout, ImageWanted("web", archive=made))
        assert (record.mended, len(layer_directories(layout, record))) == ("", len(layers))


def test_what_was_deleted_and_made_anew_does_not_get_its_old_metadata(layout: Layout, tmp_path: Path) -> None:
    cases: list[list[Member]] = [
        [file(".wh.tmp"), file("tmp/x")],
        [file("tmp/.wh..wh..opq"), file("tmp/x")],
    ]
    for members in cases:
        with mounted(layout, tmp_path, BASE, tar_of(*members)) as root:
            assert metadata(root / "tmp") == (0o755, 0, 0)
            assert names(root / "tmp") == ["x"]
    with mounted(layout, tmp_path, BASE, tar_of(file(".wh.tmp")), tar_of(file("tmp/x"))) as root:
        assert metadata(root / "tmp") == (0o755, 0, 0)


def test_a_directory_that_a_higher_layer_removed_does_not_come_back(layout: Layout, tmp_path: Path) -> None:
    with mounted(layout, tmp_path, BASE, tar_of(file("srv/data/y")), tar_of(file(".wh.srv"))) as root:
        assert names(root) == ["plain", "tmp"]
    with mounted(layout, tmp_path, BASE, tar_of(file("srv/data/y")), tar_of(file("srv/.wh.data"))) as root:
        assert metadata(root / "srv") == (0o750, 33, 34)
        assert names(root / "srv") == []


def test_a_link_below_lends_nothing_of_the_host(layout: Layout, tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "inside").mkdir(parents=True)
    (host / "inside").chmod(0o707)
    os.chown(host / "inside", 77, 77)
    with mounted(layout, tmp_path, tar_of(symlink("a", str(host))), tar_of(file("a/inside/x"))) as root:
        assert metadata(root / "a") == (0o755, 0, 0)
        assert metadata(root / "a/inside") == (0o755, 0, 0)


def test_the_top_itself_is_mended(layout: Layout, tmp_path: Path) -> None:
    with mounted(layout, tmp_path, tar_of(directory("./", 0o700, uid=9)), tar_of(file("x"))) as root:
        assert metadata(root) == (0o700, 9, 0)


def test_extended_attributes_of_a_mended_directory_are_kept(layout: Layout, tmp_path: Path) -> None:
    said = directory("tmp", 0o1777)
    assert isinstance(said, tuple)
    said[0].pax_headers = {"SCHILY.xattr.user.color": "blue"}
    with mounted(layout, tmp_path, tar_of(said), tar_of(file("tmp/x"))) as root:
        assert os.getxattr(root / "tmp", "user.color") == b"blue"


def test_a_whiteout_that_hides_nothing_is_not_seen(layout: Layout, tmp_path: Path) -> None:
    base = tar_of(directory("d", 0o750), file("d/a"), file("d/.wh.ghost"), file("e/f/.wh.ghost"), file(".wh.top"))
    for layers in ([base], [BASE, base], [base, BASE], [base, tar_of(file("d/b"))]):
        with mounted(layout, tmp_path, *layers) as root:
            assert "ghost" not in names(root / "d")
            assert names(root / "e/f") == []
            assert "top" not in names(root)
            assert metadata(root / "d") == (0o750, 0, 0)
            subprocess.run(["rm", "-r", root / "d", root / "e"], check=True)


def test_a_whiteout_hides_and_an_opaque_directory_hides_all_below(layout: Layout, tmp_path: Path) -> None:
    base = tar_of(directory("d"), file("d/a", b"1"), file("d/b", b"1"), directory("e"), file("e/a", b"1"))
    upper = tar_of(file("d/.wh.a"), file("e/.wh..wh..opq"), file("e/new", b"2"))
    with mounted(layout, tmp_path, base, upper) as root:
        assert names(root / "d") == ["b"]
        assert names(root / "e") == ["new"]
