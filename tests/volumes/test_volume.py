"""Volumes on the real kernel: made, read back, damaged, repaired, removed, and never emptied by accident."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.kernel.mountinfo import Mount, mounts_below, read_mountinfo
from runtime.layout import Layout
from runtime.volumes import mounting, volume
from runtime.volumes.records import VolumeRecord, VolumeWanted, read_record, write_record
from runtime.volumes.volume import (
    ensure_volume,
    list_retained,
    list_volumes,
    read_volume,
    remove_volume,
    volume_path,
)
from schemas.errors import Refused, RetryLater

pytestmark = pytest.mark.kernel


def mounts(layout: Layout) -> tuple[Mount, ...]:
    return mounts_below(read_mountinfo(), str(layout.volumes))


def tmpfs(name: str = "fast", options: str = "size=1m,mode=0750", **more: object) -> VolumeWanted:
    return VolumeWanted(name, {"type": "tmpfs", "device": "tmpfs", "o": options}, **more)  # type: ignore[arg-type]


def bind(source: Path, options: str = "bind") -> VolumeWanted:
    return VolumeWanted("bound", {"type": "none", "o": options, "device": str(source)})


@pytest.fixture
def source(layout: Layout) -> Path:
    """A directory of the host with a file in it."""
    path = layout.root / "host data"
    path.mkdir()
    (path / "kept").write_text("kept")
    return path


def test_a_plain_volume_is_a_directory_that_outlives_every_repetition(layout: Layout) -> None:
    wanted = VolumeWanted("data", labels={"app": "shop"}, deletion_policy="delete")
    assert read_volume(layout, "data") is None

    made = ensure_volume(layout, wanted)
    (made.path / "file").write_text("mine")
    again = ensure_volume(layout, wanted)

    assert again == made == read_volume(layout, "data")
    assert (made.labels, made.deletion_policy, made.registered) == ({"app": "shop"}, "delete", True)
    assert (made.mounted, made.drift, made.size) == (True, (), None)
    assert made.path == volume_path(layout, "data")
    assert made.path.stat().st_mode & 0o7777 == 0o755
    assert (made.path / "file").read_text() == "mine"
    assert mounts(layout) == ()


def test_the_directory_of_volumes_is_no_business_of_other_users(layout: Layout) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    assert (layout.volumes / "data").stat().st_mode & 0o077 == 0
    assert (layout.volumes / "data/volume.json").stat().st_mode & 0o077 == 0


def test_changed_labels_and_policy_are_recorded_without_touching_the_data(layout: Layout) -> None:
    ensure_volume(layout, VolumeWanted("data", labels={"a": "1"}))
    (volume_path(layout, "data") / "file").write_text("mine")
    changed = ensure_volume(layout, VolumeWanted("data", labels={"b": "2"}, deletion_policy="delete"))
    assert (changed.labels, changed.deletion_policy) == ({"b": "2"}, "delete")
    assert (changed.path / "file").read_text() == "mine"


def test_a_missing_data_directory_is_drift_and_made_anew(layout: Layout) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    volume_path(layout, "data").rmdir()
    observed = read_volume(layout, "data")
    assert observed is not None
    assert observed.drift == ("its data directory is missing",)
    assert ensure_volume(layout, VolumeWanted("data")).drift == ()


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b", "x" * 200])
def test_a_name_that_would_leave_the_directory_of_volumes_is_refused(layout: Layout, name: str) -> None:
    with pytest.raises(Refused, match="cannot be a volume's name"):
        read_volume(layout, name)
    with pytest.raises(Refused, match="cannot be a volume's name"):
        ensure_volume(layout, VolumeWanted(name))


@pytest.mark.vm
def test_a_tmpfs_volume_is_mounted_with_its_options(layout: Layout) -> None:
    made = ensure_volume(layout, tmpfs(options="size=1m,mode=0750,noexec,nosuid,noatime"))
    (seen,) = mounts(layout)
    assert (seen.fstype, seen.point) == ("tmpfs", str(made.path))
    assert set(seen.options.split(",")) == {"rw", "noexec", "nosuid", "noatime"}
    assert "size=1024k" in seen.super_options
    assert made.path.stat().st_mode & 0o7777 == 0o750
    ensure_volume(layout, tmpfs(options="size=1m,mode=0750,noexec,nosuid,noatime"))
    assert len(mounts(layout)) == 1


def test_the_size_of_a_tmpfs_volume_is_its_own_limit(layout: Layout) -> None:
    wanted = VolumeWanted("fast", {"type": "tmpfs"}, size=65536)
    made = ensure_volume(layout, wanted)
    assert made.size == 65536
    with pytest.raises(OSError, match="No space left"):
        (made.path / "big").write_bytes(b"x" * 100000)


@pytest.mark.vm
def test_an_unmounted_volume_is_noticed_and_mounted_again(layout: Layout) -> None:
    ensure_volume(layout, tmpfs())
    subprocess.run(["umount", str(volume_path(layout, "fast"))], check=True)
    observed = read_volume(layout, "fast")
    assert observed is not None
    assert (observed.mounted, observed.drift) == (False, ("not mounted",))
    assert ensure_volume(layout, tmpfs()).mounted
    assert len(mounts(layout)) == 1


@pytest.mark.parametrize("change", ["ro", "noexec", "strictatime"])
def test_a_mount_changed_by_hand_is_noticed_and_put_right_without_losing_its_files(layout: Layout, change: str) -> None:
    made = ensure_volume(layout, tmpfs(options="size=1m,nosuid"))
    (made.path / "file").write_text("mine")
    subprocess.run(["mount", "-o", f"remount,bind,{change}", str(made.path)], check=True)
    observed = read_volume(layout, "fast")
    assert observed is not None
    assert not observed.mounted
    assert observed.drift[0].startswith("mount options rw,nosuid,relatime → ")

    assert ensure_volume(layout, tmpfs(options="size=1m,nosuid")).mounted

    assert mounts(layout)[0].options == "rw,nosuid,relatime"
    assert (made.path / "file").read_text() == "mine"


def test_a_tmpfs_resized_by_hand_is_resized_back_without_losing_its_files(layout: Layout) -> None:
    made = ensure_volume(layout, tmpfs())
    (made.path / "file").write_text("mine")
    subprocess.run(["mount", "-o", "remount,size=2m", str(made.path)], check=True)
    observed = read_volume(layout, "fast")
    assert observed is not None
    assert "size=1024k" in observed.drift[0]
    assert "size=2048k" in observed.drift[0]
    ensure_volume(layout, tmpfs())
    assert "size=1024k" in mounts(layout)[0].super_options
    assert (made.path / "file").read_text() == "mine"


def test_a_tmpfs_wanted_larger_grows_in_place(layout: Layout) -> None:
    made = ensure_volume(layout, tmpfs())
    (made.path / "file").write_text("mine")
    grown = ensure_volume(layout, tmpfs(options="size=3m,mode=0750,noexec"))
    assert grown.mounted
    assert "size=3072k" in mounts(layout)[0].super_options
    assert "noexec" in mounts(layout)[0].options
    assert (made.path / "file").read_text() == "mine"


def test_a_tmpfs_that_holds_files_is_not_unmounted_for_something_else(layout: Layout, source: Path) -> None:
    made = ensure_volume(layout, tmpfs("bound"))
    (made.path / "file").write_text("mine")
    for wanted in (bind(source), VolumeWanted("bound")):
        with pytest.raises(Refused, match=r"Volume/bound unmount: its tmpfs holds files .* empty it"):
            ensure_volume(layout, wanted)
        assert (made.path / "file").read_text() == "mine"
    (made.path / "file").unlink()
    assert (ensure_volume(layout, bind(source)).path / "kept").read_text() == "kept"


@pytest.mark.vm
def test_a_bound_directory_is_the_volume(layout: Layout, source: Path) -> None:
    made = ensure_volume(layout, bind(source, "bind,ro,nosuid"))
    assert (made.path / "kept").read_text() == "kept"
    with pytest.raises(OSError, match="Read-only"):
        (made.path / "new").touch()
    assert ensure_volume(layout, bind(source)).mounted
    (made.path / "new").touch()
    assert (source / "new").exists()
    assert len(mounts(layout)) == 1


def test_a_bound_tree_brings_its_mounts_along_when_asked(layout: Layout, source: Path) -> None:
    (source / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(source / "sub")], check=True)
    (source / "sub/inner").touch()
    assert not (ensure_volume(layout, bind(source)).path / "sub/inner").exists()
    tree = ensure_volume(layout, bind(source, "rbind,rprivate,ro"))
    assert (tree.path / "sub/inner").exists()
    with pytest.raises(OSError, match="Read-only"):
        (tree.path / "sub/new").touch()


def test_a_bound_directory_that_was_replaced_is_bound_anew(layout: Layout, source: Path) -> None:
    ensure_volume(layout, bind(source))
    source.rename(source.with_name("moved away"))
    source.mkdir()
    (source / "fresh").touch()
    observed = read_volume(layout, "bound")
    assert observed is not None
    assert observed.drift == (f"not {source} is mounted",)
    assert (ensure_volume(layout, bind(source)).path / "fresh").exists()


def test_a_foreign_mount_over_ours_is_noticed_and_taken_off(layout: Layout, source: Path) -> None:
    wanted = bind(source, "bind,private")  # Else a mount on the one is a mount on the other, where `/` is shared.
    made = ensure_volume(layout, wanted)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(made.path)], check=True)
    observed = read_volume(layout, "bound")
    assert observed is not None
    assert not observed.mounted
    ensure_volume(layout, wanted)
    assert (made.path / "kept").exists()
    assert len(mounts(layout)) == 1


def test_a_plain_volume_on_which_an_administrator_mounted_a_disk_is_left_alone(layout: Layout) -> None:
    made = ensure_volume(layout, VolumeWanted("data"))
    subprocess.run(["mount", "-t", "tmpfs", "disk", str(made.path)], check=True)
    (made.path / "file").write_text("mine")
    assert ensure_volume(layout, VolumeWanted("data")).drift == ()
    assert (made.path / "file").read_text() == "mine"
    remove_volume(layout, "data", delete_data=False)
    assert (made.path / "file").read_text() == "mine"
    with pytest.raises(Refused, match=r"tmpfs disk is mounted in it"):
        remove_volume(layout, "data", delete_data=True)
    assert (made.path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "nosuchfs", "device": "/dev/null"}, ["No such device", "this kernel has no such file system"]),
        ({"type": "none", "o": "bind", "device": "/no/such/place"}, ["No such file", "does not exist"]),
        ({"type": "none", "o": "bind", "device": "/etc/passwd"}, ["Not a directory", "a volume is a directory"]),
        ({"type": "ext4", "device": "/etc/passwd"}, ["Block device required", "must be a block device"]),
        ({"type": "tmpfs", "o": "size=lots"}, ["Invalid argument", "size", "mend `o`"]),
        ({"type": "tmpfs", "o": "nosuchoption=1"}, ["Invalid argument", "nosuchoption", "mend `o`"]),
    ],
)
def test_a_mount_that_fails_says_what_the_kernel_said_and_what_to_mend(
    layout: Layout, options: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(Refused) as refused:
        ensure_volume(layout, VolumeWanted("wrong", options))
    for word in ("Volume/wrong mount", *words):
        assert word in str(refused.value)
    assert refused.value.errno
    assert mounts(layout) == ()
    remove_volume(layout, "wrong", delete_data=True)
    assert read_volume(layout, "wrong") is None


def test_a_server_whose_name_does_not_resolve_is_tried_again_later(layout: Layout) -> None:
    wanted = VolumeWanted("far", {"type": "nfs", "o": "addr=name.invalid", "device": ":/share"})
    with pytest.raises(RetryLater, match=r"name\.invalid does not resolve"):
        ensure_volume(layout, wanted)


def test_a_size_is_refused_where_nothing_could_keep_it(layout: Layout) -> None:
    from runtime.kernel.quota import can_limit

    if can_limit(layout.root) is None:
        pytest.skip("missing: a file system without project quotas")
    with pytest.raises(Refused, match=r"Volume/small limit its size: .*quota"):
        ensure_volume(layout, VolumeWanted("small", size=1 << 20))
    assert read_volume(layout, "small") is None


def test_a_retained_volume_keeps_its_data_and_is_found_again_by_name(layout: Layout) -> None:
    made = ensure_volume(layout, VolumeWanted("data"))
    (made.path / "file").write_text("mine")

    for _ in range(2):
        remove_volume(layout, "data", delete_data=False)

    observed = read_volume(layout, "data")
    assert observed is not None
    assert not observed.registered
    assert (list_volumes(layout), list_retained(layout)) == ((), ("data",))
    again = ensure_volume(layout, VolumeWanted("data"))
    assert again.registered
    assert (again.path / "file").read_text() == "mine"
    assert (list_volumes(layout), list_retained(layout)) == (("data",), ())


def test_a_volume_whose_record_is_lost_still_has_its_data(layout: Layout) -> None:
    made = ensure_volume(layout, VolumeWanted("data"))
    (made.path / "file").write_text("mine")
    for broken in ("{", None):
        record = layout.volumes / "data/volume.json"
        record.unlink()
        if broken is not None:
            record.write_text(broken)
        observed = read_volume(layout, "data")
        assert observed is not None
        assert not observed.registered
        assert (ensure_volume(layout, VolumeWanted("data")).path / "file").read_text() == "mine"


def test_a_deleted_volume_is_gone_whole_and_deleting_it_again_is_nothing(layout: Layout) -> None:
    made = ensure_volume(layout, VolumeWanted("data"))
    (made.path / "deep/er").mkdir(parents=True)
    (made.path / "deep/er/link").symlink_to("/etc/passwd")
    for _ in range(2):
        remove_volume(layout, "data", delete_data=True)
    assert read_volume(layout, "data") is None
    assert [path.name for path in layout.volumes.rglob("*")] == [".trash"]
    assert Path("/etc/passwd").exists()


def test_deleting_a_bound_volume_never_deletes_the_directory_it_bound(layout: Layout, source: Path) -> None:
    ensure_volume(layout, bind(source))
    remove_volume(layout, "bound", delete_data=True)
    assert (source / "kept").read_text() == "kept"
    assert read_volume(layout, "bound") is None
    assert mounts(layout) == ()


def test_a_retained_bound_volume_is_unmounted_and_a_retained_tmpfs_keeps_its_files(
    layout: Layout, source: Path
) -> None:
    ensure_volume(layout, bind(source))
    fast = ensure_volume(layout, tmpfs())
    (fast.path / "file").write_text("mine")
    for name in ("bound", "fast"):
        remove_volume(layout, name, delete_data=False)
    assert [seen.fstype for seen in mounts(layout)] == ["tmpfs"]
    assert (ensure_volume(layout, tmpfs()).path / "file").read_text() == "mine"
    assert (ensure_volume(layout, bind(source)).path / "kept").exists()
    remove_volume(layout, "fast", delete_data=True)
    remove_volume(layout, "bound", delete_data=True)
    assert mounts(layout) == ()


def test_a_bound_directory_of_a_tmpfs_is_no_memory_of_the_volumes(layout: Layout, source: Path) -> None:
    memory = layout.root / "memory"
    memory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(memory)], check=True)
    (memory / "file").write_text("mine")
    ensure_volume(layout, bind(memory))
    assert (ensure_volume(layout, bind(source)).path / "kept").exists()
    assert (ensure_volume(layout, bind(memory)).path / "file").read_text() == "mine"
    remove_volume(layout, "bound", delete_data=False)
    assert mounts(layout) == ()
    ensure_volume(layout, bind(memory))
    subprocess.run(["umount", str(memory)], check=True)
    with pytest.raises(Refused, match="holds files that unmounting would destroy"):
        ensure_volume(layout, bind(source))


def test_a_volume_in_use_is_not_removed(layout: Layout) -> None:
    ensure_volume(layout, VolumeWanted("data"))
    with pytest.raises(Refused, match="in use by cache, web"):
        remove_volume(layout, "data", delete_data=True, used_by={"web", "cache"})
    assert read_volume(layout, "data") is not None


def test_a_deletion_that_was_killed_is_finished_by_the_next(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ensure_volume(layout, VolumeWanted("data"))
    (made.path / "file").write_text("x")

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_volume(layout, "data", delete_data=True)
    assert read_volume(layout, "data") is None
    assert len(list((layout.volumes / volume.TRASH).iterdir())) == 1
    remove_volume(layout, "other", delete_data=True)
    assert list((layout.volumes / volume.TRASH).iterdir()) == []


def cut_at(layout: Layout, number: int, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> bool:
    """Run `call` as if killed before its effect number `number`; whether it came that far."""
    count = 0

    def guarded(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def effect(*arguments: object, **more: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                raise SystemExit(name)
            return real(*arguments, **more)

        return effect

    with monkeypatch.context() as patched:
        patched.setattr("runtime.volumes.volume.write_record", guarded("record", write_record))
        patched.setattr(mounting, "make", guarded("mount", mounting.make))
        patched.setattr(mounting, "unmount", guarded("unmount", mounting.unmount))
        patched.setattr(volume, "_made", guarded("look", volume._made))
        patched.setattr(volume, "_make_data_directory", guarded("mkdir", volume._make_data_directory))
        try:
            call()
        except SystemExit:
            return True
    return False


@pytest.mark.parametrize("number", range(1, 8))
def test_killed_between_any_two_effects_the_next_run_converges(
    layout: Layout, source: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    ensure_volume(layout, tmpfs("bound"))
    cut = cut_at(layout, number, monkeypatch, lambda: ensure_volume(layout, bind(source, "bind,ro")))
    assert cut == (number <= 6)
    made = ensure_volume(layout, bind(source, "bind,ro"))
    assert made.mounted
    assert (made.path / "kept").exists()
    assert len(mounts(layout)) == 1
    assert "ro" in mounts(layout)[0].options


def test_a_record_of_a_newer_engine_is_read_as_far_as_it_is_understood(layout: Layout) -> None:
    ensure_volume(layout, VolumeWanted("data", labels={"a": "1"}))
    path = layout.volumes / "data/volume.json"
    path.write_text(path.read_text().replace("{", '{"invented_later": 3,', 1))
    record = read_record(path.parent)
    assert isinstance(record, VolumeRecord)
    assert record.labels == {"a": "1"}


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_volumes_leave_no_descriptor_behind(layout: Layout, source: Path) -> None:
    ensure_volume(layout, bind(source))
    before = open_descriptors()
    for _ in range(20):
        ensure_volume(layout, tmpfs())
        ensure_volume(layout, bind(source, "bind,ro"))
        ensure_volume(layout, bind(source))
        remove_volume(layout, "fast", delete_data=True)
    assert open_descriptors() == before
    assert len(mounts(layout)) == 1
