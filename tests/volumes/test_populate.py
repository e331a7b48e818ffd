"""The first filling of a volume: everything comes along, once, and a kill at any moment is mended by the next run."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.kernel.mountinfo import mounts_below, read_mountinfo
from runtime.layout import Layout
from runtime.volumes import populate as filling
from runtime.volumes.populate import hand_over, populate
from runtime.volumes.records import VolumeWanted, read_record
from runtime.volumes.volume import ensure_volume, read_volume, remove_volume, volume_path
from schemas.errors import Refused, RetryLater

pytestmark = pytest.mark.kernel


@pytest.fixture
def layers(layout: Layout) -> list[Path]:
    """Two layers, highest first: the upper one changes, hides and adds."""
    lower, upper = layout.root / "layers/lower", layout.root / "layers/upper"
    data = lower / "var/data"
    data.mkdir(parents=True)
    (data / "plain").write_text("lower")
    (data / "hidden").write_text("hidden by the upper layer")
    (data / "sub/deep").mkdir(parents=True)
    (data / "sub/deep/file").write_text("deep")
    (upper / "var/data/sub").mkdir(parents=True)
    (upper / "var/data/plain").write_text("upper")
    os.mknod(upper / "var/data/hidden", stat.S_IFCHR, 0)
    (upper / "var/data/sub/added").write_text("added")
    return [upper, lower]


def names(layout: Layout, volume: str = "data") -> set[str]:
    """Every path in the volume, relative to it."""
    root = volume_path(layout, volume)
    return {str(path.relative_to(root)) for path in root.rglob("*")}


WHOLE = {"plain", "sub", "sub/added", "sub/deep", "sub/deep/file"}


@pytest.mark.vm
def test_an_empty_volume_gets_what_the_image_shows_at_the_path(layout: Layout, layers: list[Path]) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    assert populate(layout, "data", layers, "/var/data") is True
    assert names(layout) == WHOLE
    assert (volume_path(layout, "data") / "plain").read_text() == "upper"
    observed = read_volume(layout, "data")
    assert observed is not None
    assert observed.populated
    assert mounts_below(read_mountinfo(), str(layout.volumes)) == ()


def test_a_volume_is_filled_once_even_if_it_is_emptied_later(layout: Layout, layers: list[Path]) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    populate(layout, "data", layers, "/var/data")
    subprocess.run(["find", str(volume_path(layout, "data")), "-mindepth", "1", "-delete"], check=True)
    assert populate(layout, "data", layers, "/var/data") is False
    assert names(layout) == set()


def test_a_volume_that_holds_something_is_left_as_it_is(layout: Layout, layers: list[Path]) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    (volume_path(layout, "data") / "mine").write_text("mine")
    assert populate(layout, "data", layers, "/var/data") is False
    assert names(layout) == {"mine"}


def test_a_fresh_file_system_counts_as_empty(layout: Layout, layers: list[Path]) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    (volume_path(layout, "data") / "lost+found").mkdir()
    assert populate(layout, "data", layers, "/var/data") is True
    assert names(layout) == WHOLE | {"lost+found"}


@pytest.mark.parametrize("path", ["/no/such", "/var/data/plain", "/var/data/hidden/x"])
def test_a_path_that_is_no_directory_of_the_image_fills_nothing(layout: Layout, layers: list[Path], path: str) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    assert populate(layout, "data", layers, path) is False
    assert names(layout) == set()
    observed = read_volume(layout, "data")
    assert observed is not None
    assert not observed.populated
    assert populate(layout, "data", layers, "/var/data") is True


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/data", True),
        ("var//data/./sub/deep", True),
        ("/", True),
        ("/var/none", False),
        ("/none/data", False),
        ("/var/data/hidden", False),
        ("/var/data/plain", False),
        ("/link/anything", True),
        ("/var/data/../none", True),
    ],
)
def test_only_a_path_that_is_certainly_absent_is_not_looked_for(layers: list[Path], path: str, expected: bool) -> None:
    (layers[1] / "link").symlink_to("/var/data")
    assert filling.may_exist(layers, path) is expected


def test_one_layer_alone_is_enough(layout: Layout, layers: list[Path]) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    assert populate(layout, "data", layers[1:], "/var/data") is True
    assert "hidden" in names(layout)


def test_a_hundred_layers_are_not_too_many(layout: Layout, layers: list[Path]) -> None:
    many = []
    for number in range(120):
        layer = layout.root / f"layers/number-{number:03}-with-a-name-as-long-as-a-digest-{'x' * 40}"
        (layer / "var/data").mkdir(parents=True)
        (layer / f"var/data/{number}").touch()
        many.append(layer)
    ensure_volume(layout, VolumeWanted("data"))
    assert populate(layout, "data", [*many, *layers], "/var/data") is True
    assert names(layout) == WHOLE | {str(number) for number in range(120)}


@pytest.mark.vm
def test_everything_a_file_has_comes_along(layout: Layout) -> None:
    layer = layout.root / "layers/rich"
    data = layer / "data"
    data.mkdir(parents=True)
    (data / "setuid").write_bytes(b"x")
    os.chown(data / "setuid", 1000, 1001)
    (data / "setuid").chmod(0o6751)
    os.setxattr(data / "setuid", "trusted.note", b"value")
    os.setxattr(data / "setuid", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    os.link(data / "setuid", data / "again")
    (data / "link").symlink_to("/etc/passwd")
    os.chown(data / "link", 7, 8, follow_symlinks=False)
    os.mkfifo(data / "pipe", 0o640)
    os.mknod(data / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with (data / "holes").open("wb") as file:
        file.write(b"begin")
        file.seek(8 << 20)
        file.write(b"middle")
        file.truncate(64 << 20)
    (data / "dir").mkdir()
    (data / "dir").chmod(0o1777)
    (data / "dir/empty").touch()
    for path in (data / "setuid", data / "link", data / "pipe", data / "dir", data):
        os.utime(path, ns=(1_000_000_001, 1_500_000_000_123456789), follow_symlinks=False)
    data.chmod(0o2750)
    os.chown(data, 33, 34)
    ensure_volume(layout, VolumeWanted("data"))
    before = {path.name: signature(path) for path in [data, *data.rglob("*")]}

    assert populate(layout, "data", [layer], "/data")

    root = volume_path(layout, "data")
    after = {path.name: signature(path) for path in root.rglob("*")}
    assert after == {name: value for name, value in before.items() if name != "data"}
    assert signature(root) == before["data"]
    assert (root / "setuid").stat().st_ino == (root / "again").stat().st_ino
    assert (root / "holes").stat().st_blocks * 512 < 1 << 20
    assert (root / "holes").read_bytes() == (data / "holes").read_bytes()


def signature(path: Path) -> tuple[object, ...]:
    """What must be equal of two files."""
    status = path.lstat()
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    links = status.st_nlink if not stat.S_ISDIR(status.st_mode) else 0
    target = path.readlink() if path.is_symlink() else None
    size = status.st_size if not stat.S_ISDIR(status.st_mode) else 0
    return (
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        status.st_rdev,
        size,
        links,
        target,
        attributes,
    )


def test_owners_are_shifted_where_the_volume_cannot_be_mapped(layout: Layout, layers: list[Path]) -> None:
    os.chown(layers[0] / "var/data/plain", 5, 6)
    ensure_volume(layout, VolumeWanted("data"))
    populate(layout, "data", layers, "/var/data", id_offset=100000)
    status = (volume_path(layout, "data") / "plain").stat()
    assert (status.st_uid, status.st_gid) == (100005, 100006)
    assert volume_path(layout, "data").stat().st_uid == 100000


@pytest.mark.parametrize("target", ["/etc", "../../../../../../etc", "/proc/self/root/etc"])
def test_a_symlink_on_the_way_leads_only_inside_the_image(layout: Layout, target: str) -> None:
    layer = layout.root / "layers/evil"
    (layer / "etc").mkdir(parents=True)
    (layer / "etc/of-the-image").touch()
    (layer / "data").symlink_to(target)
    ensure_volume(layout, VolumeWanted("data"))
    populate(layout, "data", [layer], "/data")
    assert names(layout) <= {"of-the-image"}


def test_an_entry_named_as_our_workplace_does_not_get_in_the_way(layout: Layout) -> None:
    layer = layout.root / "layers/odd"
    (layer / "data/.trimtab-0123456789abcdef/x").mkdir(parents=True)
    ensure_volume(layout, VolumeWanted("data"))
    assert populate(layout, "data", [layer], "/data")
    assert names(layout) == {".trimtab-0123456789abcdef", ".trimtab-0123456789abcdef/x"}


def test_directories_without_end_are_refused(layout: Layout) -> None:
    layer = layout.root / "layers/deep"
    layer.mkdir(parents=True)
    here = os.open(layer, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    ensure_volume(layout, VolumeWanted("data"))
    with pytest.raises(Refused, match="directories within each other"):
        populate(layout, "data", [layer], "/")
    assert names(layout) == set()


def test_a_volume_that_is_not_mounted_is_not_filled_underneath(layout: Layout, layers: list[Path]) -> None:
    ensure_volume(layout, VolumeWanted("data", {"type": "tmpfs"}))
    subprocess.run(["umount", str(volume_path(layout, "data"))], check=True)
    with pytest.raises(RetryLater, match="not mounted"):
        populate(layout, "data", layers, "/var/data")
    with pytest.raises((RetryLater, FileNotFoundError)):
        populate(layout, "absent", layers, "/var/data")
    assert names(layout) == set()


def test_a_tmpfs_volume_is_filled_again_after_it_was_mounted_anew(layout: Layout, layers: list[Path]) -> None:
    wanted = VolumeWanted("data", {"type": "tmpfs"})
    ensure_volume(layout, wanted)
    assert populate(layout, "data", layers, "/var/data")
    subprocess.run(["umount", str(volume_path(layout, "data"))], check=True)
    ensure_volume(layout, wanted)
    assert populate(layout, "data", layers, "/var/data")
    assert names(layout) == WHOLE


def test_a_full_volume_is_said_so_and_left_empty(layout: Layout) -> None:
    layer = layout.root / "layers/big"
    (layer / "data").mkdir(parents=True)
    (layer / "data/big").write_bytes(b"x" * (1 << 20))
    wanted = VolumeWanted("data", {"type": "tmpfs"}, size=65536)
    ensure_volume(layout, wanted)
    with pytest.raises(RetryLater, match=r"No space left on device.*free space") as error:
        populate(layout, "data", [layer], "/data")
    assert error.value.errno == errno.ENOSPC
    assert names(layout) == set()
    ensure_volume(layout, VolumeWanted("data", {"type": "tmpfs"}, size=4 << 20))
    assert populate(layout, "data", [layer], "/data")
    assert names(layout) == {"big"}


SCRIPT = """
import sys
from pathlib import Path
from runtime.layout import Layout
from runtime.volumes.populate import hand_over, populate
root, run, *layers = map(Path, sys.argv[1:])
print("begin", flush=True)
populate(Layout(root=root, run=run), "data", layers, "/var/data")
"""


def test_killed_at_random_moments_it_is_whole_in_the_end_and_never_thought_done_before(
    layout: Layout, layers: list[Path]
) -> None:
    for number in range(400):
        (layers[1] / f"var/data/sub/deep/n{number}").write_text("x" * 100)
    whole = WHOLE | {f"sub/deep/n{number}" for number in range(400)}
    ensure_volume(layout, VolumeWanted("data"))
    dice, longest = random.Random(11), 0.05
    phases: list[str] = []
    command = [sys.executable, "-c", SCRIPT, *map(str, (layout.root, layout.run, *layers))]
    while len(phases) < 12 or (len(set(phases)) == 1 and len(phases) < 40):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(dice.uniform(0, longest))
            child.send_signal(signal.SIGKILL)
        record = read_record(layout.volumes / "data")
        assert record is not None
        phases.append(record.population)
        longest *= 0.7 if record.population == "done" else 1.3  # However busy the machine is.
        if record.population == "done":
            assert names(layout) == whole
            ensure_fresh(layout)
    populate(layout, "data", layers, "/var/data")
    assert names(layout) == whole
    assert "done" in phases
    assert set(phases) & {"", "copying", "moving"}


def ensure_fresh(layout: Layout) -> None:
    """Begin again with an empty volume that was never filled."""
    remove_volume(layout, "data", delete_data=True)
    ensure_volume(layout, VolumeWanted("data"))


@pytest.mark.parametrize("number", range(1, 10))
def test_killed_between_any_two_steps_the_next_run_finishes(
    layout: Layout, layers: list[Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    count = 0

    def cut(name: str) -> None:
        real = getattr(filling, name)

        def effect(*arguments: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                os._exit(9)
            return real(*arguments)

        monkeypatch.setattr(filling, name, effect)

    child = os.fork()
    if child == 0:
        for name in ("write_record", "_run_child", "syncfs", "_move_into_place", "_move"):
            cut(name)
        populate(layout, "data", layers, "/var/data")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (9 if number <= 8 else 0)
    populate(layout, "data", layers, "/var/data")
    assert names(layout) == WHOLE
    assert (volume_path(layout, "data") / "plain").read_text() == "upper"


def test_what_was_put_into_the_volume_meanwhile_is_kept(
    layout: Layout, layers: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    real = filling._move_into_place

    def meanwhile(data: Path, staging: str) -> None:
        (data / "plain").write_text("mine")
        real(data, staging)

    monkeypatch.setattr(filling, "_move_into_place", meanwhile)
    populate(layout, "data", layers, "/var/data")
    assert (volume_path(layout, "data") / "plain").read_text() == "mine"
    assert names(layout) == WHOLE


def test_two_containers_at_once_fill_it_once(layout: Layout, layers: list[Path]) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: populate(layout, "data", layers, "/var/data"), range(4)))
    assert sorted(outcomes) == [False, False, False, True]
    assert names(layout) == WHOLE


@pytest.mark.vm
def test_a_file_system_of_its_own_is_handed_over_to_the_first_and_only_while_it_is_empty(layout: Layout) -> None:
    memory = VolumeWanted("memory", {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=0700"})
    ensure_volume(layout, memory)
    assert hand_over(layout, "memory", 70_000) is True
    assert hand_over(layout, "memory", 80_000) is False
    status = volume_path(layout, "memory").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (70_000, 70_000, 0o700)
    used = VolumeWanted("used", {"type": "tmpfs", "device": "tmpfs"})
    ensure_volume(layout, used)
    (volume_path(layout, "used") / "file").touch()
    assert hand_over(layout, "used", 70_000) is False


def test_a_directory_of_the_hosts_keeps_its_owner(layout: Layout, tmp_path: Path) -> None:
    ensure_volume(layout, VolumeWanted("bound", {"type": "none", "o": "bind", "device": str(tmp_path)}))
    ensure_volume(layout, VolumeWanted("plain"))
    assert hand_over(layout, "bound", 70_000) is False
    assert hand_over(layout, "plain", 70_000) is False
    assert tmp_path.stat().st_uid == 0
