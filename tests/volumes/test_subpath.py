"""A part of a volume, whose symlinks a container may have set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.layout import Layout
from runtime.volumes.records import VolumeWanted
from runtime.volumes.subpath import open_subpath
from runtime.volumes.volume import ensure_volume
from schemas.errors import Refused

pytestmark = pytest.mark.kernel


@pytest.fixture
def data(layout: Layout) -> Path:
    path = ensure_volume(layout, VolumeWanted("data")).path
    (path / "sub/deep").mkdir(parents=True)
    (path / "sub/file").write_text("content")
    (path / "inside").symlink_to("sub/deep")
    (path / "around").symlink_to("sub/../sub/deep")
    (path / "absolute").symlink_to("/etc")
    (path / "up").symlink_to("../../..")
    (path / "self").symlink_to("self")
    (path / "magic").symlink_to("/proc/self/root")
    return path


def found(layout: Layout, subpath: str) -> Path:
    descriptor = open_subpath(layout, "data", subpath)
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("subpath", "expected"),
    [
        ("sub", "sub"),
        ("/sub/deep/", "sub/deep"),
        ("sub/file", "sub/file"),
        ("inside", "sub/deep"),
        ("around", "sub/deep"),
    ],
)
def test_a_path_inside_is_found(layout: Layout, data: Path, subpath: str, expected: str) -> None:
    assert found(layout, subpath) == data / expected


def test_no_path_is_the_volume_itself(layout: Layout, data: Path) -> None:
    assert found(layout, "") == found(layout, "/") == data


@pytest.mark.parametrize(
    ("subpath", "reason"),
    [
        ("..", "leads out of the volume"),
        ("sub/../../x", "leads out of the volume"),
        ("absolute/passwd", "leads out of the volume"),
        ("up", "leads out of the volume"),
        ("magic", "leads out of the volume"),
        ("self", "runs in circles"),
        ("sub/none", "does not exist in the volume; make it in the volume first"),
        ("sub/file/x", "has a file where a directory should be"),
    ],
)
def test_a_path_that_leads_out_is_refused(layout: Layout, data: Path, subpath: str, reason: str) -> None:
    with pytest.raises(Refused, match=rf"Volume/data find the sub-path: .*{reason}"):
        open_subpath(layout, "data", subpath)


def test_a_volume_that_does_not_exist_has_no_part(layout: Layout) -> None:
    with pytest.raises(Refused, match="the volume does not exist"):
        open_subpath(layout, "absent", "sub")


def test_what_was_opened_stays_what_it_was(layout: Layout, data: Path) -> None:
    descriptor = open_subpath(layout, "data", "sub")
    try:
        (data / "sub").rename(data / "moved")
        (data / "sub").symlink_to("/etc")
        assert sorted(path.name for path in Path(f"/proc/self/fd/{descriptor}").iterdir()) == ["deep", "file"]
    finally:
        os.close(descriptor)
