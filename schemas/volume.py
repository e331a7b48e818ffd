"""What a Volume manifest may say.

Source: Compose Specification, volumes; Docker's driver `local` and its options type, o and device.
"""

from typing import Annotated, Any, Self

from pydantic import model_validator

from schemas.faults import Fault, refuse
from schemas.field import Spec, live, part, replace
from schemas.paths import is_host_path
from schemas.plain_types import Flag, Labels, Line, Room, one_of

FsType = Line


class VolumeDriverOptions(Spec):
    """What is mounted instead of a directory of the engine's: the arguments of mount(8)."""

    type: Annotated[FsType | None, part("File system: none (with o: bind), nfs, tmpfs, ext4, …")] = None
    o: Annotated[Line | None, part("Options, joined by commas, as addr=10.0.0.5,rw.")] = None
    device: Annotated[Line | None, part("What is mounted: a device, a path, or :/export of an NFS server.")] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        refuse("driver_opts", driver_faults(self))
        return self


class VolumeSpec(Spec):
    """Files that outlive containers."""

    driver: Annotated[Annotated[str, one_of("local")], replace("`local`: on this machine.")] = "local"
    driver_opts: Annotated[
        VolumeDriverOptions | None, replace("Mount something instead of a directory.", default="a directory")
    ] = None
    size: Annotated[Room, live("Most it may hold; needs project quotas.", unit="bytes", default="no limit")] = None
    labels: Annotated[Labels, live("Notes for people and tools.")] = {}
    external: Annotated[Flag, replace("It exists already and is never made nor removed.")] = False
    deletion_policy: Annotated[
        Annotated[str, one_of("retain", "delete")], live("Whether its files go when it is no longer declared.")
    ] = "retain"

    @model_validator(mode="after")
    def _external_says_no_more(self) -> Self:
        refuse("volume", external_faults(self))
        return self


def driver_faults(options: VolumeDriverOptions) -> list[Fault]:
    """What of `driver_opts` contradicts itself."""
    faults: list[Fault] = []
    words = (options.o or "").split(",")
    if "bind" in words or "rbind" in words:
        if options.device is None or not is_host_path(options.device):
            faults.append((("device",), "a bind mount needs a path of the host; write device: /srv/data"))
        if options.type not in (None, "none"):
            faults.append((("type",), "a bind mount has no file system of its own; write type: none"))
    elif options.type is None:
        faults.append((("type",), "does not say which file system; write one as in nfs, tmpfs, ext4, or o: bind"))
    elif options.type != "tmpfs" and options.device is None:
        faults.append((("device",), f"does not say what to mount; write the device of the {options.type}"))
    return faults


def external_faults(spec: Any) -> list[Fault]:
    """An external object is described where it is made, and nowhere else."""
    if not spec.external:
        return []
    return [
        ((name,), "belongs to whoever made it; with external: true leave it out")
        for name, field in type(spec).model_fields.items()
        if name not in ("external", "labels") and getattr(spec, name) != field.default
    ]
