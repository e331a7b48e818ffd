"""Volumes of a limited size, on a file system of the test's own that keeps project quotas."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.kernel import capabilities, quota
from runtime.layout import Layout
from runtime.volumes.populate import populate
from runtime.volumes.records import VolumeWanted
from runtime.volumes.volume import ensure_volume, read_volume, remove_volume
from schemas.errors import RetryLater

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

MIB = 1 << 20


@pytest.fixture
def limited(layout: Layout) -> Iterator[Layout]:
    """An engine whose root lies on an ext4 with project quotas."""
    image, point = layout.run / "image", layout.root
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    maker = ["mke2fs", "-q", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota", str(image)]
    try:
        subprocess.run(maker, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("missing: mke2fs")
    done = subprocess.run(["mount", "-o", "loop,prjquota", str(image), str(point)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this kernel has no project quotas: runs in the virtual machine")
    try:
        yield layout
    finally:
        subprocess.run(["umount", str(point)], check=True)


def errno_of_writing(path: Path, count: int) -> int:
    """0, or why `count` bytes could not be written by a process without CAP_SYS_RESOURCE, which quotas do not hold."""
    child = os.fork()
    if child == 0:
        held = capabilities.read().bounding - {"CAP_SYS_RESOURCE"}
        capabilities.apply(held, held, (), held, ())
        code = 0
        try:
            with path.open("wb") as file:
                file.write(bytes(count))
                os.fsync(file.fileno())
        except OSError as error:
            code = error.errno or 255
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_volume_holds_its_size_and_no_more(limited: Layout) -> None:
    made = ensure_volume(limited, VolumeWanted("small", size=4 * MIB))
    assert (made.size, made.drift) == (4 * MIB, ())
    assert errno_of_writing(made.path / "fits", MIB) == 0
    assert errno_of_writing(made.path / "does not", 8 * MIB) in (errno.EDQUOT, errno.ENOSPC)
    other = ensure_volume(limited, VolumeWanted("other"))
    assert errno_of_writing(other.path / "big", 8 * MIB) == 0
    assert other.size is None


def test_a_size_changes_in_place_also_from_and_to_none(limited: Layout) -> None:
    wanted = VolumeWanted("small")
    made = ensure_volume(limited, wanted)
    (made.path / "sub").mkdir()
    (made.path / "sub/old").write_bytes(bytes(3 * MIB))
    os.mkfifo(made.path / "pipe")
    assert ensure_volume(limited, replace(wanted, size=4 * MIB)).size == 4 * MIB
    assert errno_of_writing(made.path / "sub/new", 2 * MIB) in (errno.EDQUOT, errno.ENOSPC)
    assert ensure_volume(limited, replace(wanted, size=8 * MIB)).size == 8 * MIB
    assert errno_of_writing(made.path / "sub/new", 2 * MIB) == 0
    assert ensure_volume(limited, wanted).size is None
    assert errno_of_writing(made.path / "big", 16 * MIB) == 0


def test_a_size_that_is_no_whole_block_reads_back_as_asked(limited: Layout) -> None:
    assert ensure_volume(limited, VolumeWanted("small", size=1_000_001)).size == 1_000_001


def test_a_limit_taken_off_by_hand_shows_and_is_set_again(limited: Layout) -> None:
    made = ensure_volume(limited, VolumeWanted("small", size=4 * MIB))
    quota.remove_limit(made.path)
    observed = read_volume(limited, "small")
    assert observed is not None
    assert observed.size is None
    assert ensure_volume(limited, VolumeWanted("small", size=4 * MIB)).size == 4 * MIB


def test_two_volumes_never_share_a_limit(limited: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.volumes.size.zlib.crc32", lambda data: 7)
    first = ensure_volume(limited, VolumeWanted("first", size=2 * MIB))
    second = ensure_volume(limited, VolumeWanted("second", size=3 * MIB))
    assert (first.size, second.size) == (2 * MIB, 3 * MIB)
    again = read_volume(limited, "first")
    assert again is not None
    assert again.size == 2 * MIB


def test_a_removed_volume_gives_its_limit_back(limited: Layout) -> None:
    made = ensure_volume(limited, VolumeWanted("small", size=4 * MIB))
    found = quota.read_limit(made.path)
    assert found is not None
    remove_volume(limited, "small", delete_data=True)
    assert quota.read_project(limited.volumes, found.project).limit == 0


def test_an_image_too_big_for_the_volume_is_said_so(limited: Layout) -> None:
    layer = limited.run / "layer"
    (layer / "data").mkdir(parents=True)
    (layer / "data/big").write_bytes(bytes(2 * MIB))
    made = ensure_volume(limited, VolumeWanted("small", size=MIB))
    if errno_of_root_writing(made.path / "probe", 2 * MIB) == 0:
        pytest.skip("quotas do not hold a root with CAP_SYS_RESOURCE")
    with pytest.raises(RetryLater, match="raise the volume's size"):
        populate(limited, "small", [layer], "/data")
    assert list(made.path.iterdir()) == []


def errno_of_root_writing(path: Path, count: int) -> int:
    try:
        path.write_bytes(bytes(count))
    except OSError as error:
        return error.errno or 255
    finally:
        path.unlink(missing_ok=True)
    return 0
