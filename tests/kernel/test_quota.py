"""Project quotas on file systems of the test's own, and the reasons where there are none."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel import capabilities, quota
from runtime.kernel.quota import CannotLimit
from tests.kernel.children import in_child

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

MIB = 1 << 20
MAKERS = {
    "ext4": ["mke2fs", "-q", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}
SIZES = {"ext4": 64 * MIB, "xfs": 320 * MIB}


@pytest.fixture(params=sorted(MAKERS))
def limited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A fresh file system with project quotas on."""
    yield from mounted(request.param, tmp_path, "prjquota")


def mounted(kind: str, base: Path, options: str) -> Iterator[Path]:
    image, point = base / "image", base / "mounted"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZES[kind])
    try:
        subprocess.run([*MAKERS[kind], str(image)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip(f"missing: {MAKERS[kind][0]}")
    done = subprocess.run(["mount", "-o", f"loop,{options}", str(image), str(point)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this kernel has no project quotas for {kind}: runs in the virtual machine")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_a_limit_is_kept_by_the_file_system(limited: Path) -> None:
    volume = limited / "volume"
    volume.mkdir()
    quota.set_limit(volume, 1001, 4 * MIB)
    assert in_child(written, volume / "fits", MIB) == 0
    assert in_child(written, volume / "does not", 8 * MIB) in (errno.EDQUOT, errno.ENOSPC)
    assert in_child(written, limited / "elsewhere", 8 * MIB) == 0


def written(file: Path, size: int) -> int:
    """The errno of writing so much without CAP_SYS_RESOURCE on the host, which quotas do not hold."""
    held = capabilities.read().bounding - {"CAP_SYS_RESOURCE"}
    capabilities.apply(held, held, (), held, ())
    try:
        with file.open("wb") as new:
            new.write(bytes(size))
            os.fsync(new.fileno())
    except OSError as error:
        return error.errno or -1
    return 0


def test_limit_and_use_are_read_back(limited: Path) -> None:
    volume = limited / "volume"
    volume.mkdir()
    assert quota.read_limit(volume) is None
    quota.set_limit(volume, 1002, 4 * MIB)
    below = volume / "a" / "b"
    below.mkdir(parents=True)
    (below / "file").write_bytes(bytes(MIB))
    with (below / "file").open("rb+") as file:
        file.flush()
        subprocess.run(["sync", "-f", str(below)], check=True)
    found = quota.read_limit(volume)
    assert found is not None
    assert (found.project, found.limit) == (1002, 4 * MIB)
    assert MIB <= found.used < 2 * MIB


def test_a_limit_is_raised_and_lifted(limited: Path) -> None:
    volume = limited / "volume"
    volume.mkdir()
    quota.set_limit(volume, 1003, MIB)
    quota.set_limit(volume, 1003, 16 * MIB)
    assert in_child(written, volume / "file", 8 * MIB) == 0
    assert in_child(written, volume / "more", 16 * MIB) != 0
    quota.remove_limit(volume)
    assert in_child(written, volume / "more", 16 * MIB) == 0


def test_a_file_system_with_quotas_can_limit(limited: Path) -> None:
    assert quota.can_limit(limited) is None


def test_without_quotas_switched_on_nothing_is_limited(tmp_path: Path) -> None:
    """Said by the mount option, or by the kernel that has none."""
    for point in mounted("xfs", tmp_path, "noquota"):
        assert "project quotas" in (quota.can_limit(point) or "")
        with pytest.raises(CannotLimit, match="project quotas"):
            quota.set_limit(point, 1004, MIB)
        with pytest.raises(CannotLimit, match="project quotas"):
            quota.remove_limit(point)


def test_a_file_system_without_projects_is_refused_with_a_reason() -> None:
    assert "ext4 or xfs" in (quota.can_limit("/proc") or "")
    with pytest.raises(CannotLimit, match="ext4 or xfs"):
        quota.set_limit("/proc", 1005, MIB)
    with pytest.raises(CannotLimit, match="ext4 or xfs"):
        quota.read_limit("/proc")
