"""The fields of a container that say what it may do, and which namespaces it shares.

What grants or takes rights replaces the container: files that a mightier incarnation left in the writable layer must
not outlive it. What the kernel is only told at the start restarts it.

Source: Compose Specification, services; Docker's --security-opt.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import model_validator

from schemas.attachment import CgroupMode, IpcMode, PidMode, UsernsMode, UtsMode
from schemas.faults import Fault, collect, refuse
from schemas.field import Spec, part, replace, restart
from schemas.kernel_words import Capabilities, DeviceRules, Sysctls, order_access
from schemas.nearest import nearest
from schemas.paths import AbsoluteHostPath, Target, read_absolute_host_path, read_file_path, read_target
from schemas.plain_types import Flag, read_line, read_text, words
from schemas.spelling import INTO_BAG, SORTED, Spelling, pattern

_ACCESS = re.compile(r"[rwm]{1,3}")
_PROFILE = re.compile(r"[A-Za-z0-9_./:-]{1,255}")
SECURITY_KEYS = ("no-new-privileges", "seccomp", "apparmor", "label", "systempaths")


def read_access(value: Any) -> str:
    """Letters of `rwm`, in that order. Raises ValueError with the remedy."""
    text = read_text(value)
    if not _ACCESS.fullmatch(text):
        raise ValueError(f"{text!r} is no access; write some of r, w and m, as in rw")
    return order_access(text)


Access = Annotated[str, Spelling(read_access, "access", pattern("[rwm]{1,3}"), final=True)]


class Device(Spec):
    """A device of the host that the container may use."""

    source: Annotated[AbsoluteHostPath, part("Device on the host.")]
    target: Annotated[Target, part("Path in the container.", default="the same as on the host")] = ""
    permissions: Annotated[Access, part("`r` read, `w` write, `m` make.")] = "rwm"


def expand_device(value: Any) -> Any:
    """`HOST[:CONTAINER[:ACCESS]]` as a long form with its target. Raises ValueError."""
    if isinstance(value, Device):
        return value
    if isinstance(value, Mapping):
        return value if value.get("target") else {**value, "target": value.get("source")}
    text = read_line(value)
    if "=" in text and not text.startswith("/"):
        raise ValueError(f"{text!r} is a CDI device, which is not supported; write /dev/…")
    host, *rest = text.split(":")
    if len(rest) > 2:
        raise ValueError(f"{text!r} has too many colons; write HOST:CONTAINER:ACCESS, as in /dev/sda:/dev/xvda:r")
    access = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
    return {
        "source": read_absolute_host_path(host),
        "target": read_target(rest[0] if rest else host),
        "permissions": read_access(access),
    }


def read_devices(value: Any) -> list[Any]:
    """`devices`, short forms made long. Raises ValueError with every fault."""
    if not isinstance(value, list | tuple):
        raise ValueError("is no list of devices; write - and a device on each line, as in - /dev/fuse")
    return collect("devices", value, expand_device)


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """`security_opt` taken apart; None is not set."""

    no_new_privileges: bool | None = None
    seccomp: str | None = None
    apparmor: str | None = None
    unmasked_paths: bool = False


def read_security_option(value: Any) -> str:
    """`seccomp:unconfined` -> `seccomp=unconfined`. Raises ValueError."""
    text = read_line(value)
    key, _, setting = text.partition("=" if "=" in text else ":")
    if key not in SECURITY_KEYS:
        near = nearest(key, SECURITY_KEYS)
        raise ValueError(f"{text!r} is no security option; " + (f"did you mean {near}?" if near else _KNOWN_OPTIONS))
    if key == "no-new-privileges":
        if setting not in ("", "true", "false"):
            raise ValueError(f"{text!r} is neither true nor false; write no-new-privileges=true")
        return f"{key}={setting or 'true'}"
    if key == "seccomp":
        return f"seccomp={setting if setting in ('unconfined', 'default') else read_file_path(setting)}"
    if key == "apparmor" and not _PROFILE.fullmatch(setting):
        raise ValueError(f"{text!r} names no profile; write apparmor=PROFILE or apparmor=unconfined")
    if key == "label" and setting != "disable":
        raise ValueError(f"{text!r} sets an SELinux label, which is not supported; write label=disable or leave it out")
    if key == "systempaths" and setting != "unconfined":
        raise ValueError(f"{text!r} is not known; write systempaths=unconfined or leave it out")
    return f"{key}={setting}"


_KNOWN_OPTIONS = "write no-new-privileges=true, seccomp=unconfined, apparmor=PROFILE or systempaths=unconfined"
Devices = Annotated[
    tuple[Device, ...],
    INTO_BAG,
    SORTED,
    Spelling(read_devices, "list of device", items=pattern(r"[/.][^:]*(:/[^:]+)?(:[rwm]{1,3})?")),
]
SecurityOpt = Annotated[
    tuple[str, ...],
    words(read_security_option, "list of option", pattern("(" + "|".join(SECURITY_KEYS) + ")([=:].+)?")),
    INTO_BAG,
    SORTED,
]


class SecurityFields(Spec):
    """The fields of a container that say what it may do, and which namespaces it shares."""

    cap_add: Annotated[Capabilities, replace("Capabilities added to the default ones; ALL for all.")] = ()
    cap_drop: Annotated[Capabilities, replace("Capabilities taken from the default ones; ALL for all.")] = ()
    privileged: Annotated[Flag, replace("It may do whatever the host's root may; avoid it.")] = False
    security_opt: Annotated[
        SecurityOpt, replace("no-new-privileges, seccomp=, apparmor=, systempaths=.", default="the default profiles")
    ] = ()
    userns_mode: Annotated[
        UsernsMode | None, replace("`host`: root inside is root of the host; avoid it.", default="private")
    ] = None
    pid: Annotated[PidMode | None, restart("Whose processes it sees.", default="private")] = None
    ipc: Annotated[IpcMode | None, restart("Whose shared memory it sees.", default="private")] = None
    uts: Annotated[UtsMode | None, restart("Whose host name it has.", default="private")] = None
    cgroup: Annotated[CgroupMode | None, restart("Whose cgroups it sees.", default="private")] = None
    devices: Annotated[Devices, restart("Devices of the host it may use, as HOST:CONTAINER:ACCESS.")] = ()
    device_cgroup_rules: Annotated[DeviceRules, restart("Kinds of device it may use, as c 1:3 rwm.")] = ()
    sysctls: Annotated[Sysctls, restart("Kernel parameters of its own namespaces.")] = {}

    @property
    def security(self) -> SecurityOptions:
        """`security_opt` taken apart."""
        options = dict(option.split("=", 1) for option in self.security_opt)
        told = options.get("no-new-privileges")
        return SecurityOptions(
            no_new_privileges=None if told is None else told == "true",
            seccomp=options.get("seccomp"),
            apparmor=options.get("apparmor"),
            unmasked_paths="systempaths" in options,
        )

    @model_validator(mode="after")
    def _rights_agree(self) -> Self:
        refuse("rights", security_faults(self))
        return self


def security_faults(spec: SecurityFields) -> list[Fault]:
    """Fields that contradict each other."""
    faults: list[Fault] = []
    both = set(spec.cap_add) & set(spec.cap_drop)
    if both:
        faults.append((("cap_drop",), f"drops {', '.join(sorted(both))}, which cap_add adds; keep one of them"))
    keys = [option.partition("=")[0] for option in spec.security_opt]
    faults += [
        (("security_opt",), f"says {key} twice; keep one of them") for key in dict.fromkeys(keys) if keys.count(key) > 1
    ]
    if spec.ipc == "host" and any(name.startswith(("kernel.", "fs.mqueue.")) for name in spec.sysctls):
        faults.append((("sysctls",), "would change the host's shared memory with ipc: host; leave one of them out"))
    return faults
