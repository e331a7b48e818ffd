"""What a volume should be, what was made of it (a small file beside its data), and what is observed.

The record is how a volume is recognised: by name, with what it was asked to be, how it was mounted, and how far its
first filling came. It is written before the effect it announces. Holds no content and decides nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from runtime.kernel.mountinfo import Mount
from runtime.layout import Layout
from runtime.volumes.durable import write_file
from schemas.errors import Refused

DATA = "_data"
RECORD_FILE = "volume.json"

DeletionPolicy = Literal["retain", "delete"]
Population = Literal["", "copying", "moving", "done"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class VolumeWanted:
    """A volume of the driver `local`. `driver_opts`: `type`, `o`, `device` as mount(8) takes them; `size` in bytes;
    `set`: who wants it, empty for a container's unnamed one."""

    name: str
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    deletion_policy: DeletionPolicy = "retain"
    set: str = ""


@dataclass(frozen=True, slots=True)
class MadeMount:
    """How a mount looked right after it was made; what it looks like later is compared with this."""

    fstype: str
    source: str
    root: str
    options: str
    super_options: str

    @classmethod
    def of(cls, mount: Mount) -> MadeMount:
        return cls(mount.fstype, mount.source, mount.root, mount.options, mount.super_options)


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """`registered`: wanted by somebody, not merely kept; `project`: the quota id; `staging`: where the filling lies;
    `had_by`: the sets that have had this data, the first one first; an empty name is somebody nobody knows."""

    driver_opts: dict[str, str] = field(default_factory=dict)
    size: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    deletion_policy: DeletionPolicy = "retain"
    registered: bool = True
    mounted: MadeMount | None = None
    project: int | None = None
    population: Population = ""
    staging: str = ""
    had_by: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class VolumeObserved:
    """A volume as it is. `mounted`: as its options ask, or a plain directory; `drift`: what disagrees, in words;
    `present`: its directory is there; `had_by`: the sets that have had its data, an empty name for one unknown."""

    name: str
    path: Path
    driver_opts: Mapping[str, str]
    size: int | None
    labels: Mapping[str, str]
    deletion_policy: DeletionPolicy
    registered: bool
    populated: bool
    mounted: bool
    drift: tuple[str, ...] = ()
    present: bool = True
    had_by: tuple[str, ...] = ()


def volume_directory(layout: Layout, name: str) -> Path:
    """Where a volume's data and record stand. Raises Refused for what cannot be a volume's name."""
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} cannot be a volume's name", step="find the volume")
    return layout.volumes / name


def read_record(directory: Path) -> VolumeRecord | None:
    """The record of a volume; None where there is none or it cannot be read."""
    try:
        content: dict[str, Any] = json.loads((directory / RECORD_FILE).read_bytes())
        mounted = content.pop("mounted", None)
        known = {each.name for each in fields(VolumeRecord)}
        return VolumeRecord(
            **{name: value for name, value in content.items() if name in known},
            mounted=MadeMount(**mounted) if mounted else None,
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write_record(directory: Path, record: VolumeRecord) -> None:
    """Replace the record, durably."""
    write_file(directory / RECORD_FILE, json.dumps(asdict(record), indent=1, sort_keys=True).encode())


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Hold a volume for oneself, among threads and processes. Raises FileNotFoundError once it is gone.

    Whoever inherits the descriptor holds it too, until the last of them ends.
    """
    while True:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), directory.stat()):
                yield descriptor
                return
        finally:
            os.close(descriptor)
