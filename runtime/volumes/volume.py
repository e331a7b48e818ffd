"""Volumes of the driver `local`: make one real, read it back, remove it.

A volume is `volumes/<name>/_data`: a plain directory, or what its driver options mount there. Called by the
reconciler. What a user stored is never lost: a volume that is no longer wanted is only unregistered (and unmounted
where its data lives elsewhere) unless the caller says `delete_data`, and is found again by its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from runtime.kernel.features.mounts import can_map_ids
from runtime.kernel.mountinfo import Mount, mounts_below, read_mountinfo
from runtime.layout import Layout
from runtime.volumes import mounting, remote, size
from runtime.volumes.durable import sync_directory
from runtime.volumes.options import MEMORY, REMOTE, MountWanted, mount_wanted
from runtime.volumes.records import (
    DATA,
    MadeMount,
    VolumeObserved,
    VolumeRecord,
    VolumeWanted,
    locked,
    read_record,
    volume_directory,
    write_record,
)
from schemas.errors import Refused, RetryLater

TRASH = ".trash"
DATA_MODE = 0o755
KNOWN_MOUNTS = 256
"""Of which is remembered whether they can be id-mapped."""


def volume_path(layout: Layout, name: str) -> Path:
    """Where a volume's files are. Says nothing about whether it exists."""
    return volume_directory(layout, name) / DATA


def list_volumes(layout: Layout) -> tuple[str, ...]:
    """The names of all registered volumes."""
    return tuple(name for name in _names(layout) if (have := read_record(layout.volumes / name)) and have.registered)


def list_retained(layout: Layout) -> tuple[str, ...]:
    """The names of volumes that nobody wants any more and whose data was kept."""
    registered = set(list_volumes(layout))
    return tuple(name for name in _names(layout) if name not in registered)


def _names(layout: Layout) -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(path.name for path in layout.volumes.iterdir() if not path.name.startswith("."))
    return []


def read_volume(layout: Layout, name: str, mounts: Sequence[Mount] | None = None) -> VolumeObserved | None:
    """A volume as it is; None where there is none. `mounts`: this namespace's, where the caller has read them.

    What is mounted is not asked: a server that is gone keeps nobody waiting here.
    """
    directory = volume_directory(layout, name)
    record = read_record(directory)
    present = has_data(layout, name)
    if record is None:
        if not present:
            return None
        record = VolumeRecord(registered=False)
    drift = _drift(record, directory, mounts) if present else ("its data directory is missing",)
    return VolumeObserved(
        name=name,
        path=directory / DATA,
        driver_opts=record.driver_opts,
        size=_size(record, directory, drift),
        labels=record.labels,
        deletion_policy=record.deletion_policy,
        registered=record.registered,
        populated=record.population == "done",
        mounted=not drift,
        drift=drift,
        present=present,
        had_by=had_by(record),
    )


def had_by(record: VolumeRecord) -> tuple[str, ...]:
    """The sets that have had the data; an empty name for somebody nobody knows, as of data that is merely there."""
    return tuple(record.had_by) or (() if record.registered else ("",))


def holds_files(layout: Layout, name: str) -> bool:
    """Whether there is anything in its directory. What a server would have to answer is not asked, and counts as no."""
    if not has_data(layout, name) or not is_at_hand(layout, name):
        return False
    with suppress(OSError), os.scandir(volume_path(layout, name)) as entries:
        return next(entries, None) is not None
    return False


def has_data(layout: Layout, name: str) -> bool:
    """Whether the volume's directory is there, by its parent's listing: what is mounted on it is not asked."""
    with suppress(OSError), os.scandir(volume_directory(layout, name)) as entries:
        return any(entry.name == DATA and entry.is_dir() for entry in entries)
    return False


def require_answer(layout: Layout, name: str) -> None:
    """Have the server of a volume that lies on one answer; nothing for others. Raises RetryLater in bounded time."""
    data = volume_path(layout, name)
    seen = mounting.seen_at(data)
    if seen is None or seen.fstype not in REMOTE:
        return
    try:
        remote.look(data)
    except OSError as error:
        raise RetryLater(
            f"{seen.fstype} {seen.source}: {error.strerror}",
            object=f"Volume/{name}",
            step="ask its server",
            path=str(data),
            errno=error.errno,
            hint=mounting.HINTS.get(error.errno or 0, f"umount -l {data}, then apply"),
        ) from error


def is_at_hand(layout: Layout, name: str) -> bool:
    """Whether to open it waits for nobody: its files lie on the engine's own disk, or in memory."""
    seen = mounting.seen_at(volume_path(layout, name))
    return seen is None or seen.fstype in MEMORY


def takes_ids(layout: Layout, name: str) -> bool:
    """Whether the volume can be id-mapped into a user namespace (mount_setattr(2)). A plain directory can, since the
    engine's own files can; of what is mounted not every file system."""
    record = read_record(volume_directory(layout, name))
    seen = mounting.seen_at(volume_path(layout, name)) if record is not None and record.driver_opts else None
    return seen is None or _takes_ids(seen)


@lru_cache(KNOWN_MOUNTS)
def _takes_ids(mounted: Mount) -> bool:
    """A process has to be started to find out; the answer lies in the mount and does not change while it stands."""
    return can_map_ids(Path(mounted.point))


def _size(record: VolumeRecord, directory: Path, drift: tuple[str, ...]) -> int | None:
    """The limit as the kernel has it."""
    if record.size is None:
        return None
    if record.driver_opts:
        return None if drift else record.size
    limit = size.read_limit(directory / DATA, record.project)
    return record.size if limit == size.rounded(record.size) else limit


def _drift(record: VolumeRecord, directory: Path, mounts: Sequence[Mount] | None) -> tuple[str, ...]:
    data = directory / DATA
    wanted = mount_wanted(_wanted(directory.name, record))
    if wanted is None:
        return ()
    found = mounting.difference(record.mounted, mounting.seen_at(data, mounts), wanted, data)
    return (found,) if found else ()


def _wanted(name: str, record: VolumeRecord) -> VolumeWanted:
    return VolumeWanted(name, record.driver_opts, record.size, record.labels, record.deletion_policy)


def ensure_volume(layout: Layout, wanted: VolumeWanted) -> VolumeObserved:
    """Have the volume be as wanted, its data untouched; what it then is. Raises Refused, RetryLater."""
    mount = mount_wanted(wanted)
    directory = volume_directory(layout, wanted.name)
    if mount is None and wanted.size is not None:
        size.check(layout.volumes, wanted.name)
    layout.volumes.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    with locked(directory):
        had = _had_by(layout, directory, wanted)
        announced = record = _registered(directory, wanted, had)
        if _make_data_directory(directory / DATA):
            # nothing is in it: its first use is yet to come
            record = replace(record, population="", staging="")
        record = _converge_mount(directory, record, mount)
        if mount is None:
            record = size.converge(directory, record, wanted.name)
        if record != announced:
            write_record(directory, record)
    observed = read_volume(layout, wanted.name)
    if observed is None or observed.drift:
        reason = observed.drift[0] if observed else "it is gone again"
        raise RetryLater(reason, object=f"Volume/{wanted.name}", step="look again", path=str(directory))
    return observed


def _had_by(layout: Layout, directory: Path, wanted: VolumeWanted) -> list[str]:
    """Who has had the data once `wanted.set` has it: nobody else where there are no files yet."""
    if wanted.set and not holds_files(layout, wanted.name):
        return [wanted.set]
    before = had_by(read_record(directory) or VolumeRecord(registered=False))
    return [*before, *([wanted.set] if wanted.set and wanted.set not in before else [])]


def _registered(directory: Path, wanted: VolumeWanted, had: list[str]) -> VolumeRecord:
    """The record of what is wanted now, written before anything is made. What was made so far stays recorded."""
    found = read_record(directory)
    have = found or VolumeRecord()
    record = replace(
        have,
        driver_opts={key: value for key, value in wanted.driver_opts.items() if value},
        size=wanted.size,
        labels=dict(wanted.labels),
        deletion_policy=wanted.deletion_policy,
        registered=True,
        had_by=had,
    )
    if _mount_words(have) != _mount_words(record) and have.mounted is not None:
        record = replace(record, mounted=_outdated(have.mounted))
    if record != found:
        write_record(directory, record)
    return record


def _mount_words(record: VolumeRecord) -> tuple[dict[str, str], int | None]:
    return record.driver_opts, record.size if record.driver_opts else None


def _outdated(made: MadeMount) -> MadeMount:
    """A mount made for other options: no mount looks like it, so it reads as drift until it is made anew."""
    return replace(made, super_options="", options="")


def _make_data_directory(data: Path) -> bool:
    """Whether there was none."""
    try:
        data.mkdir(mode=DATA_MODE)
    except FileExistsError:
        return False
    data.chmod(DATA_MODE)  # Whatever the umask.
    sync_directory(data.parent)
    return True


def _converge_mount(directory: Path, record: VolumeRecord, wanted: MountWanted | None) -> VolumeRecord:
    """Have `wanted` mounted on the volume's directory and nothing of ours otherwise; the record of it."""
    data = directory / DATA
    if wanted is None:
        return _without_mount(directory, record)
    seen = mounting.seen_at(data)
    found = mounting.difference(record.mounted, seen, wanted, data)
    if found is None:
        return record
    if seen is not None and record.mounted is not None and found.startswith("mount options") and record.mounted.options:
        mounting.restore_attributes(record.mounted, data, recursive=wanted.recursive)
        return record
    if seen is not None and seen.fstype == wanted.fstype == "tmpfs":
        mounting.remount(wanted, data, directory.name)
        return replace(record, mounted=_made(data))
    _unmount_all(directory)
    mounting.make(wanted, data, directory.name)
    population = "" if wanted.fstype in MEMORY else record.population
    return replace(record, mounted=_made(data), population=population)


def _made(data: Path) -> MadeMount | None:
    seen = mounting.seen_at(data)
    return MadeMount.of(seen) if seen is not None else None


def _without_mount(directory: Path, record: VolumeRecord) -> VolumeRecord:
    """Take off a mount of ours that is no longer wanted; one that somebody else made on a plain volume stays."""
    if record.mounted is None:
        return record
    _unmount_all(directory)
    return replace(record, mounted=None)


def _unmount_all(directory: Path) -> None:
    """Unmount everything from the volume's directory, unless files would be lost with it. Raises Refused."""
    data = directory / DATA
    while (seen := mounting.seen_at(data)) is not None:
        if mounting.holds_what_unmounting_destroys(seen, data):
            raise Refused(
                f"its {seen.fstype} holds files that unmounting would destroy",
                object=f"Volume/{directory.name}",
                step="unmount",
                path=str(data),
                hint="copy them elsewhere and empty it, or delete the volume",
            )
        mounting.unmount(data, seen)


def remove_volume(
    layout: Layout, name: str, delete_data: bool, used_by: Collection[str] = (), let_go_by: str = ""
) -> None:
    """Forget a volume; its files too if `delete_data`, and never what lies on a bound directory or a foreign device.

    Without it the data stays where it is and the volume is only unregistered, and unmounted unless it holds files that
    live in memory alone. `used_by`: containers that mount it; any refuses. `let_go_by`: the set that had it, recorded
    with what stays. A volume that is gone is no error.
    """
    directory = volume_directory(layout, name)
    if used_by:
        raise Refused(
            f"in use by {', '.join(sorted(used_by))}", object=f"Volume/{name}", step="remove", hint="remove these first"
        )
    with suppress(FileNotFoundError), locked(directory):
        record = read_record(directory) or VolumeRecord(registered=False)
        if delete_data:
            _delete(layout, directory, record)
        else:
            _retain(directory, record, let_go_by)
    _empty_trash(layout)


def _retain(directory: Path, record: VolumeRecord, let_go_by: str) -> None:
    data = directory / DATA
    seen = mounting.seen_at(data) if record.mounted else None
    if seen is not None and not mounting.holds_what_unmounting_destroys(seen, data):
        mounting.unmount(data, seen)
        record = replace(record, mounted=None)
    had = [*record.had_by, *([let_go_by] if let_go_by and let_go_by not in record.had_by else [])]
    write_record(directory, replace(record, registered=False, had_by=had))


def _delete(layout: Layout, directory: Path, record: VolumeRecord) -> None:
    """Unmount what is ours, then move the rest out of sight in one step and remove it."""
    data = directory / DATA
    if record.mounted is not None and (seen := mounting.seen_at(data)) is not None:
        mounting.unmount(data, seen)
    others = mounts_below(read_mountinfo(), os.path.realpath(directory))
    if others:  # Removing would descend into a file system that is not the volume's.
        raise Refused(
            f"{others[0].fstype} {others[0].source} is mounted in it",
            object=f"Volume/{directory.name}",
            step="delete its data",
            path=others[0].point,
            hint=f"umount {others[0].point}",
        )
    size.release(directory / DATA, record.project)
    trash = layout.volumes / TRASH
    trash.mkdir(mode=0o700, exist_ok=True)
    directory.rename(trash / f"{directory.name}.{os.urandom(6).hex()}")
    sync_directory(layout.volumes)


def _empty_trash(layout: Layout) -> None:
    """Remove what deleted volumes left, also those of a run that was killed meanwhile."""
    with suppress(FileNotFoundError):
        for path in (layout.volumes / TRASH).iterdir():
            try:
                shutil.rmtree(path)
            except OSError as error:
                name = path.name.rpartition(".")[0]
                raise RetryLater(
                    error.strerror or str(error),
                    object=f"Volume/{name}",
                    step="delete its data",
                    path=str(error.filename),
                ) from error
