"""Fills an empty volume from an image at its first use, as Docker does.

Called by the reconciler before a container that mounts the volume is created; whether it should (`nocopy`) is the
caller's. Crash-safe by three steps, each recorded before it begins: copy into a directory of the volume that is named
at random, move its entries into place, done. Killed while copying, the copy is thrown away and begun again; killed
while moving, the rest is moved. What somebody else put into the volume meanwhile is kept.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.kernel.rename import RENAME_NOREPLACE, renameat2
from runtime.kernel.syncfs import syncfs
from runtime.layout import Layout
from runtime.volumes.records import DATA, VolumeRecord, locked, read_record, volume_directory, write_record
from runtime.volumes.volume import read_volume
from schemas.errors import Refused, RetryLater

NO_CONTENT = frozenset({"lost+found"})
"""What a fresh file system holds by itself."""
BINDING = frozenset({"bind", "rbind"})
WORKPLACE = ".populate"
PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO})
HINTS = {
    errno.ENOSPC: "free space, or raise the volume's size",
    errno.EDQUOT: "free space, or raise the volume's size",
    errno.EACCES: "who serves it lets root write nothing; fill it there, and write nocopy: true",
    errno.EPERM: "who serves it lets root write nothing; fill it there, and write nocopy: true",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the files come from: layers, highest first, the path in the image, what to add to owners' ids."""

    layers: Sequence[Path]
    path: str
    id_offset: int


def populate(layout: Layout, name: str, layers: Sequence[Path], path: str, *, id_offset: int = 0) -> bool:
    """Fill the volume with what the image holds at `path`, once, if it is empty; whether something was copied.

    `layers`: directories, highest first. Owners keep their ids, plus `id_offset` where a volume cannot be id-mapped.
    A path the image does not have fills nothing, and leaves it to the next image. Raises Refused, RetryLater.
    """
    directory = volume_directory(layout, name)
    with locked(directory) as lock:
        _require_mounted(layout, name)
        record = read_record(directory) or VolumeRecord()
        if record.population == "done":
            return False
        if record.population == "copying":
            _discard(directory / DATA / record.staging)
            record = replace(record, population="", staging="")
        if record.population == "" and not _is_empty(directory / DATA):
            write_record(directory, replace(record, population="done"))
            return False
        if record.population == "":
            if not may_exist(layers, path):
                return False
            record = _copy(layout, directory, record, Source(layers, path, id_offset), lock)
        moves = record.population == "moving"
        if moves:
            _move_into_place(directory / DATA, record.staging)
        write_record(directory, replace(record, population="done" if moves else "", staging=""))
        return moves


def hand_over(layout: Layout, name: str, owner: int) -> bool:
    """Give a file system of the volume's own that cannot be id-mapped, and that nobody has used, to `owner` (a uid and
    gid of the host): a container's root could not write to it otherwise. Whether it was given.

    Only what is empty and the host's root's: a directory of the host's that is bound keeps its owner, and a volume that
    has one already is not taken away from it. Raises RetryLater where the volume is not mounted.
    """
    directory = volume_directory(layout, name)
    with locked(directory):
        _require_mounted(layout, name)
        record = read_record(directory)
        options = record.driver_opts if record else {}
        if not options or BINDING & set(options.get("o", "").split(",")):
            return False
        status = (directory / DATA).stat()
        if (status.st_uid, status.st_gid) != (0, 0) or not _is_empty(directory / DATA):
            return False
        try:
            os.chown(directory / DATA, owner, owner)
        except PermissionError:  # An NFS server that trusts no client's root: who may write there is its affair.
            return False
        return True


def may_exist(layers: Sequence[Path], path: str) -> bool:
    """Whether the image may show something at `path`; False is certain, and saves the child.

    Goes down the merged layers as far as they are plain directories; what a symlink means the child finds out.
    """
    here = list(layers)
    for part in [each for each in path.split("/") if each not in ("", ".")]:
        found = [layer / part for layer in here if os.path.lexists(layer / part)]
        if part == ".." or (found and found[0].is_symlink()):
            return True
        here = [each for each in found if each.is_dir() and not each.is_symlink()]
        if not found or here[:1] != found[:1]:  # Absent, or the highest layer shows a file or a whiteout.
            return False
    return True


def _copy(layout: Layout, directory: Path, record: VolumeRecord, source: Source, lock: int) -> VolumeRecord:
    """The whole copy beside its place, on disk; the record that says so (`moving`), or that there was nothing."""
    record = replace(record, population="copying", staging=f".trimtab-{os.urandom(8).hex()}")
    write_record(directory, record)
    staging = directory / DATA / record.staging
    staging.mkdir(mode=0o700)
    try:
        found = _run_child(layout, source, staging, lock)
        if found:
            syncfs(staging)
    except BaseException:
        _discard(staging)
        raise
    if not found:
        _discard(staging)
        return replace(record, population="")
    record = replace(record, population="moving")
    write_record(directory, record)
    return record


def _run_child(layout: Layout, source: Source, staging: Path, lock: int) -> bool:
    empty, point = (layout.volumes / WORKPLACE / each for each in ("empty", "image"))
    for each in (empty, point):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    request = {
        "layers": [str(layer) for layer in source.layers],
        "empty": str(empty),
        "point": str(point),
        "path": source.path,
        "target": str(staging),
        "id_offset": source.id_offset,
    }
    child = subprocess.run(
        [sys.executable, "-S", "-s", "-P", "-m", "runtime.volumes.copying"],
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8"},
        cwd="/",
        pass_fds=[lock],  # Killed without us, it would still write: the next try waits for its end.
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    outcome = _outcome(child.stdout)
    if child.returncode == 0 and "found" in outcome:
        return bool(outcome["found"])
    raise _failure(staging.parent, source.path, outcome, child.returncode, child.stderr)


def _require_mounted(layout: Layout, name: str) -> None:
    observed = read_volume(layout, name)
    if observed is None or not observed.mounted:
        reason = observed.drift[0] if observed else "it does not exist"
        raise RetryLater(reason, object=f"Volume/{name}", step="fill it", hint="apply the volume first")


def _outcome(text: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(text)
    except ValueError:
        return {}
    return content


def _failure(data: Path, path: str, outcome: dict[str, Any], code: int, errors: str) -> Refused | RetryLater:
    where: dict[str, Any] = {"object": f"Volume/{data.parent.name}", "step": f"fill it from the image's {path}"}
    if "errno" not in outcome:
        last = (errors.strip().splitlines() or [f"the copying child ended with {code}"])[-1]
        return RetryLater(last, **where)
    number = outcome["errno"]
    hint = HINTS.get(number, "")
    kind = RetryLater if number in PASSING else Refused
    return kind(outcome["message"] or "", **where, path=outcome["path"] or str(data), errno=number, hint=hint)


def _is_empty(data: Path) -> bool:
    return all(entry.name in NO_CONTENT for entry in data.iterdir())


def _discard(staging: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(staging)


def _move_into_place(data: Path, staging: str) -> None:
    """Move the entries of the copy up; then owner, mode and times of its directory become the volume's."""
    copy = data / staging
    try:
        status = copy.stat()
    except FileNotFoundError:  # A run that was killed between here and the record had moved everything.
        return
    for entry in list(copy.iterdir()):
        _move(entry, data / entry.name)
    os.chown(data, status.st_uid, status.st_gid)
    data.chmod(stat.S_IMODE(status.st_mode))
    for attribute in os.listxattr(copy):
        with suppress(OSError):
            os.setxattr(data, attribute, os.getxattr(copy, attribute))
    shutil.rmtree(copy)
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))


def _move(entry: Path, place: Path) -> None:
    """Rename, never over what somebody else put there."""
    try:
        renameat2(entry, place, RENAME_NOREPLACE)
    except OSError as error:
        if error.errno == errno.EINVAL and not os.path.lexists(place):  # NFS knows no flags.
            entry.rename(place)
        elif error.errno not in (errno.EEXIST, errno.EINVAL):
            raise
