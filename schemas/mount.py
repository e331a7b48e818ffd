"""What is mounted into a container: volumes, host paths, tmpfs, other images; short and long form.

`"data:/var/lib/db:ro"` and its long form become one `Mount`. Whether a named volume exists is `check`'s business;
relative host paths are resolved by whoever knows the manifest's directory.

Source: Compose Specification, services, volumes and tmpfs.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import model_validator

from schemas.faults import Fault, collect, refuse
from schemas.field import Spec, part
from schemas.image_words import read_image_name
from schemas.paths import Subpath, Target, is_host_path, read_host_path, read_target
from schemas.plain_types import (
    Flag,
    Line,
    Mode,
    Room,
    one_of,
    read_line,
    read_list,
    read_name,
    whole,
)
from schemas.spelling import INTO_BAG, SORTED, Spelling, pattern

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
CONSISTENCIES = ("consistent", "cached", "delegated")
Id = Annotated[int, whole(0, 2**32 - 2)]
Propagation = Annotated[str, one_of(*PROPAGATIONS)]
Selinux = Annotated[str, one_of("z", "Z")]
Consistency = Annotated[str, one_of(*CONSISTENCIES)]
MountType = Annotated[str, one_of("volume", "bind", "tmpfs", "image")]


class BindOptions(Spec):
    """Options of a mounted host path."""

    propagation: Annotated[
        Propagation | None, part("How mounts made on one side reach the other.", default="rprivate")
    ] = None
    create_host_path: Annotated[Flag, part("Make a directory on the host if nothing is there.")] = True
    selinux: Annotated[Selinux | None, part("SELinux label: `z` shared, `Z` private; ignored without SELinux.")] = None


class VolumeOptions(Spec):
    """Options of a mounted named volume."""

    nocopy: Annotated[Flag, part("Do not fill a new volume with what the image holds at the target.")] = False
    subpath: Annotated[Subpath | None, part("Path inside the volume to mount instead of its root.")] = None


class TmpfsOptions(Spec):
    """Options of a mounted tmpfs."""

    size: Annotated[Room, part("Most it may hold.", unit="bytes", default="half of the memory")] = None
    mode: Annotated[Mode | None, part("Permissions of its root.", default="1777")] = None
    uid: Annotated[Id | None, part("Owner of its root, a number inside the container.", default="0")] = None
    gid: Annotated[Id | None, part("Group of its root, a number inside the container.", default="0")] = None
    exec: Annotated[Flag, part("Programs on it may be run.")] = False
    suid: Annotated[Flag, part("Set-user-id bits on it count.")] = False
    dev: Annotated[Flag, part("Device files on it work.")] = False


class ImageOptions(Spec):
    """Options of a mounted image."""

    subpath: Annotated[Subpath | None, part("Path inside the image to mount instead of its root.")] = None


class Mount(Spec):
    """One thing mounted into the container. Of the four groups of options, that of its type is set."""

    type: Annotated[MountType, part("`volume`, `bind` (a path of the host), `tmpfs` or `image`.")]
    source: Annotated[
        Line | None, part("Name of a volume, path of the host, or image; none for tmpfs and unnamed volumes.")
    ] = None
    target: Annotated[Target, part("Path in the container it appears at.")]
    read_only: Annotated[Flag, part("Nothing can be written through it.")] = False
    bind: Annotated[BindOptions | None, part("Options of type bind.")] = None
    volume: Annotated[VolumeOptions | None, part("Options of type volume.")] = None
    tmpfs: Annotated[TmpfsOptions | None, part("Options of type tmpfs.")] = None
    image: Annotated[ImageOptions | None, part("Options of type image.")] = None
    consistency: Annotated[
        Consistency | None, part("Accepted for manifests written for Docker Desktop; without effect on Linux.")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        kind = value.get("type") if isinstance(value, Mapping) else None
        return complete(value) if isinstance(kind, str) and kind in SOURCES else value


def _no_source(value: Any) -> None:
    raise ValueError("a tmpfs has no source; leave it out")


SOURCES = {"volume": read_name, "bind": read_host_path, "tmpfs": _no_source, "image": read_image_name}
_REQUIRED = {"bind": "a path of the host, as in ./data", "image": "an image, as in nginx:1.27"}


def complete(value: Mapping[str, Any]) -> dict[str, Any]:
    """A long form with its source in canonical form and the options of its type, no others."""
    kind, source = value["type"], value.get("source")
    faults: list[Fault] = [
        ((other,), f"belongs to type {other}, and this is a {kind}; leave it out, or write type: {other}")
        for other in SOURCES
        if other != kind and value.get(other) is not None
    ]
    if source is None and kind in _REQUIRED:
        faults.append(((), f"{kind} needs a source; write source: and {_REQUIRED[kind]}"))
    if source is not None:
        try:
            source = SOURCES[kind](source)
        except ValueError as error:
            faults.append((("source",), str(error)))
    refuse("mount", faults)
    options = value.get(kind)
    return {**value, "source": source, kind: {} if options is None else options}


def expand_short(value: Any) -> Any:
    """`[SOURCE:]TARGET[:OPTIONS]` as a long form; a long form as it is. Raises ValueError."""
    if isinstance(value, Mapping | Mount):
        return value
    parts = read_line(value).split(":")
    if len(parts) > 3:
        raise ValueError(f"{value!r} has too many colons; write SOURCE:TARGET:OPTIONS, as in data:/srv:ro")
    if len(parts) == 1:
        return {"type": "volume", "target": read_target(parts[0])}
    source, target, *options = parts
    kind = "bind" if is_host_path(source) else "volume"
    mount: dict[str, Any] = {"type": kind, "source": SOURCES[kind](source), "target": read_target(target)}
    for option in options[0].split(",") if options else ():
        _apply_option(mount, option)
    return mount


def _apply_option(mount: dict[str, Any], option: str) -> None:
    kind = mount["type"]
    if option in ("ro", "rw"):
        mount["read_only"] = option == "ro"
    elif option in CONSISTENCIES:
        mount["consistency"] = option
    elif option == "nocopy" and kind == "volume":
        mount.setdefault("volume", {})["nocopy"] = True
    elif option in PROPAGATIONS and kind == "bind":
        mount.setdefault("bind", {})["propagation"] = option
    elif option in ("z", "Z"):
        if kind == "bind":
            mount.setdefault("bind", {})["selinux"] = option
    else:
        known = "ro, rw, z, Z, " + ("nocopy" if kind == "volume" else ", ".join(PROPAGATIONS))
        raise ValueError(f"{option!r} is no option of a {kind}; write some of {known}")


def read_mounts(value: Any) -> list[Any]:
    """`volumes`, short forms made long. Raises ValueError with every fault."""
    if not isinstance(value, list | tuple):
        raise ValueError("is no list of volumes; write - SOURCE:TARGET on each line, as in - data:/srv")
    return collect("volumes", value, expand_short)


class TmpfsMount(TmpfsOptions):
    """A tmpfs written in the field `tmpfs`."""

    target: Annotated[Target, part("Path in the container it appears at.")]
    read_only: Annotated[Flag, part("Nothing can be written to it.")] = False

    @property
    def mount(self) -> Mount:
        """The same as an entry of `volumes`."""
        options = self.model_dump(exclude={"target", "read_only"})
        return Mount.model_validate(
            {"type": "tmpfs", "target": self.target, "read_only": self.read_only, "tmpfs": options}
        )


_TMPFS_FLAGS = {
    word: (name, negated == "")
    for name in ("exec", "suid", "dev")
    for negated in ("", "no")
    for word in (f"{negated}{name}",)
} | {"ro": ("read_only", True), "rw": ("read_only", False)}


def expand_tmpfs(value: Any) -> Any:
    """`TARGET[:size=64m,mode=1777,uid=…,gid=…,exec,…]` as a map. Raises ValueError."""
    if isinstance(value, Mapping | TmpfsMount):
        return value
    target, _, options = read_line(value).partition(":")
    found: dict[str, Any] = {"target": read_target(target)}
    for option in options.split(",") if options else ():
        name, equals, text = option.partition("=")
        if option in _TMPFS_FLAGS:
            flag, setting = _TMPFS_FLAGS[option]
            found[flag] = setting
        elif equals and name in ("size", "mode", "uid", "gid"):
            found[name] = text
        else:
            raise ValueError(f"{option!r} is no option of a tmpfs; write some of size=, mode=, uid=, gid=, exec, ro")
    return found


def read_tmpfs(value: Any) -> list[Any]:
    """`tmpfs`, a path or several, short forms made long. Raises ValueError with every fault."""
    items = read_list(value)
    if not isinstance(items, list | tuple):
        raise ValueError("is no list of paths; write - and a path on each line, as in - /run")
    return collect("tmpfs", items, expand_tmpfs)


SHORT_MOUNT = pattern(r"[^:]+(:/[^:]*(:[A-Za-z,]+)?)?")
SHORT_TMPFS = pattern(r"/[^:]+(:[^:]+)?")

Mounts = Annotated[
    tuple[Mount, ...],
    INTO_BAG,
    SORTED,
    Spelling(read_mounts, "list of mount", items=SHORT_MOUNT),
]
TmpfsMounts = Annotated[
    tuple[TmpfsMount, ...],
    INTO_BAG,
    SORTED,
    Spelling(read_tmpfs, "list of tmpfs", SHORT_TMPFS, items=SHORT_TMPFS),
]
