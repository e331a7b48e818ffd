"""The size of a plain volume: a project quota on its directory, where the file system keeps them.

Called by the volume while it makes itself real. Where there is no project quota a size is refused before anything is
made, since a limit that does not limit is worse than none.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import replace
from pathlib import Path

from runtime.kernel import quota
from runtime.volumes.records import DATA, VolumeRecord
from schemas.errors import Refused

FIRST_PROJECT, PROJECTS = 0x54540000, 0x10000
"""Project ids taken for volumes: apart from the small ones other tools count up from."""


def check(volumes: Path, name: str) -> None:
    """Whether a size can be kept below `volumes`. Raises Refused saying why not."""
    volumes.mkdir(mode=0o700, parents=True, exist_ok=True)
    reason = quota.can_limit(volumes)
    if reason is not None:
        raise Refused(
            f"its size cannot be limited: {reason}",
            object=f"Volume/{name}",
            step="limit its size",
            path=str(volumes),
            hint="or leave the size out",
        )


def converge(directory: Path, record: VolumeRecord, name: str) -> VolumeRecord:
    """Have the limit of `record`, none where it has none; the record with the project that carries it."""
    data = directory / DATA
    if record.size is None:
        release(data, record.project)
        return replace(record, project=None)
    check(directory.parent, name)
    if read_limit(data, record.project) == rounded(record.size):
        return record
    project = record.project or _project(data)
    quota.set_limit(data, project, record.size)
    if record.project is None:  # Also what was stored before there was a limit counts.
        quota.count_tree(data, project)
    return replace(record, project=project)


def read_limit(data: Path, project: int | None) -> int | None:
    """Bytes the directory may hold, whole KiB; None where nothing limits it."""
    if project is None:
        return None
    try:
        found = quota.read_limit(data)
    except OSError:
        return None
    return found.limit or None if found is not None and found.project == project else None


def release(data: Path, project: int | None) -> None:
    """Take a limit off; none is no error, nor a file system that keeps none any more."""
    if project is None or not data.is_dir() or quota.can_limit(data) is not None:
        return
    quota.remove_limit(data)


def rounded(limit: int) -> int:
    """The limit the kernel keeps for this many bytes."""
    return -(-limit // quota.BLOCK) * quota.BLOCK


def _project(data: Path) -> int:
    """The project a run that was killed gave this directory, else one that nobody uses."""
    found = quota.read_limit(data)
    if found is not None and FIRST_PROJECT <= found.project < FIRST_PROJECT + PROJECTS:
        return found.project
    start = zlib.crc32(os.fsencode(data))
    for offset in range(PROJECTS):
        use = quota.read_project(data, FIRST_PROJECT + (start + offset) % PROJECTS)
        if not use.limit and not use.used:
            return use.project
    raise Refused("every project id for volumes is taken", step="limit its size", path=str(data))
