"""The fields of a container that say which files it sees beside its image's.

All replace the container: its processes hold files open, and what a mount hid or showed cannot be told from outside.

Source: Compose Specification, services.
"""

from typing import Annotated, Self

from pydantic import model_validator

from schemas.faults import Fault, refuse
from schemas.field import Spec, replace, restart
from schemas.grant import ConfigGrants, SecretGrants
from schemas.mount import Mount, Mounts, TmpfsMounts
from schemas.plain_types import Flag, Room


class StorageFields(Spec):
    """The fields of a container that say which files it sees."""

    volumes: Annotated[Mounts, replace("Volumes and host paths it sees, as SOURCE:TARGET:OPTIONS.")] = ()
    tmpfs: Annotated[TmpfsMounts, replace("Paths that hold files in memory, gone when it stops.")] = ()
    secrets: Annotated[SecretGrants, replace("Secrets it reads as files below /run/secrets.")] = ()
    configs: Annotated[ConfigGrants, replace("Configs it reads as files.")] = ()
    read_only: Annotated[Flag, replace("Its root cannot be written to.")] = False
    shm_size: Annotated[Room, restart("Size of /dev/shm.", unit="bytes", default="64m")] = None

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """`volumes`, and `tmpfs` as entries of it."""
        return (*self.volumes, *(entry.mount for entry in self.tmpfs))

    @model_validator(mode="after")
    def _targets_differ(self) -> Self:
        refuse("mounts", target_faults(self))
        return self


def target_faults(spec: StorageFields) -> list[Fault]:
    """Paths that two mounts claim."""
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for field in ("volumes", "tmpfs", "secrets", "configs"):
        for index, entry in enumerate(getattr(spec, field)):
            if entry.target in seen:
                faults.append(
                    ((field, index), f"{entry.target} is mounted by {seen[entry.target]} too; keep one of them")
                )
            seen.setdefault(entry.target, f"{field}[{index}]")
    return faults
