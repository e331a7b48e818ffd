"""Driver options as mount(8) reads them: one row per rule."""

from __future__ import annotations

import pytest

from runtime.kernel import mount
from runtime.volumes.options import MountWanted, mount_wanted
from runtime.volumes.records import VolumeWanted
from schemas.errors import Refused

RO, NOSUID, NODEV, NOATIME = (
    mount.MOUNT_ATTR_RDONLY,
    mount.MOUNT_ATTR_NOSUID,
    mount.MOUNT_ATTR_NODEV,
    mount.MOUNT_ATTR_NOATIME,
)
ATIME = mount.MOUNT_ATTR__ATIME


def test_no_options_are_a_plain_directory() -> None:
    assert mount_wanted(VolumeWanted("v")) is None
    assert mount_wanted(VolumeWanted("v", {"type": "", "o": ""}, size=5)) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"type": "none", "o": "bind", "device": "/srv"}, MountWanted("none", "/srv", bind=True)),
        ({"o": "rbind,ro", "device": "/srv"}, MountWanted("none", "/srv", True, True, set=RO)),
        (
            {"o": "bind,rslave,dev", "device": "/srv"},
            MountWanted("none", "/srv", True, clear=NODEV, propagation=mount.MS_SLAVE),
        ),
        ({"type": "tmpfs"}, MountWanted("tmpfs", "tmpfs")),
        (
            {"type": "tmpfs", "device": "tmpfs", "o": "size=10m,uid=1000,nosuid,noatime,defaults,x-note"},
            MountWanted("tmpfs", "tmpfs", set=NOSUID | NOATIME, clear=ATIME, options={"size": "10m", "uid": "1000"}),
        ),
        (
            {"type": "ext4", "device": "/dev/sdb1", "o": "ro,rw,ro,errors=remount-ro,sync"},
            MountWanted("ext4", "/dev/sdb1", set=RO, options={"errors": "remount-ro", "sync": None, "ro": None}),
        ),
        (
            {"type": "nfs", "device": ":/export", "o": "addr=10.0.0.5,vers=4.2,_netdev"},
            MountWanted("nfs", ":/export", options={"addr": "10.0.0.5", "vers": "4.2"}),
        ),
        (
            {"type": "nfs4", "device": "[fd00::5]:/export"},
            MountWanted("nfs4", "[fd00::5]:/export", options={"addr": "fd00::5"}),
        ),
    ],
)
def test_options_are_sorted_by_who_is_to_be_told(options: dict[str, str], expected: MountWanted) -> None:
    assert mount_wanted(VolumeWanted("v", options)) == expected


@pytest.mark.parametrize(
    ("options", "size", "reason"),
    [
        ({"typ": "tmpfs"}, None, "unknown driver option 'typ'; known are type, o and device"),
        ({"device": "/srv"}, None, "no file system is named"),
        ({"type": "none", "device": "/srv"}, None, "no file system is named"),
        ({"type": "ext4"}, None, "no device of the ext4 is named"),
        ({"o": "bind", "device": "srv"}, None, "'srv' is no absolute path"),
        ({"o": "bind"}, None, "is no absolute path"),
        ({"o": "bind", "type": "ext4", "device": "/srv"}, None, "no file system of its own"),
        ({"o": "bind,size=5m", "device": "/srv"}, None, "takes no option 'size'"),
        ({"o": "bind", "device": "/srv"}, 5, "cannot be limited in size"),
        ({"type": "ext4", "device": "/dev/sdb"}, 5, "of type ext4 cannot be limited"),
        ({"type": "tmpfs", "o": "remount,size=1m"}, None, "'remount' mounts nothing"),
        ({"type": "ext4", "device": "/f", "o": "loop"}, None, "'loop' mounts nothing"),
        ({"type": "ext4", "device": "/f", "o": "note=" + "x" * 256}, None, "longer than 255 bytes"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_anything_is_touched(
    options: dict[str, str], size: int | None, reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        mount_wanted(VolumeWanted("v", options, size=size))
