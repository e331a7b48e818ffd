"""The kernel's own words in a manifest: signals, capabilities, sysctls, resource limits, device rules, processors.

Each is read into one canonical spelling and unknown ones are refused with the nearest known. Only sysctls of a
namespace are accepted: any other would change the host.

Sources: signal(7), capabilities(7), getrlimit(2), namespaces(7), kernel documentation cgroup-v1/devices, cpuset(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from schemas.faults import Fault, refuse
from schemas.nearest import is_slip, nearest
from schemas.plain_types import list_of, read_pairs, read_text, words
from schemas.spelling import INTO_BAG, SORTED, Spelling, pattern

_SIGNALS_TEXT = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU "
    "URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)
SIGNALS = tuple(_SIGNALS_TEXT.split())
"""Signals 1 to 31 of Linux on every architecture but MIPS, Alpha, SPARC and PA-RISC, in the order of their numbers."""
SIGNAL_SYNONYMS = {"IOT": "ABRT", "POLL": "IO", "CLD": "CHLD"}
FIRST_REALTIME, LAST_REALTIME = 34, 64

_CAPABILITIES_TEXT = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
    "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(_CAPABILITIES_TEXT.split())
"""Capabilities 0 to 40 in the order of their numbers, without CAP_."""

_ULIMITS_TEXT = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack as"
ULIMITS = tuple(_ULIMITS_TEXT.split())
_IPC_SYSCTLS_TEXT = (
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni "
    "kernel.shm_rmid_forced kernel.msg_next_id kernel.sem_next_id kernel.shm_next_id kernel.auto_msgmni"
)
IPC_SYSCTLS = frozenset(_IPC_SYSCTLS_TEXT.split())
_SYSCTL_PART = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_DEVICE_RULE = re.compile(r"([abc]) ([0-9]{1,7}|\*):([0-9]{1,7}|\*) ([rwm]{1,3})")
_CPU_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
LAST_CPU = 8191
"""NR_CPUS is at most 8192."""


def read_signal(value: Any) -> str:
    """`usr1`, `SIGUSR1` and `10` are `SIGUSR1`; `RTMIN+1` and `35` are `SIGRTMIN+1`. Raises ValueError."""
    text = read_text(value).strip().upper().removeprefix("SIG")
    if text.isascii() and text.isdigit() and len(text) < 4:
        return _signal_of_number(int(text), text)
    if text in ("RTMIN", "RTMAX") or re.fullmatch(r"RTMIN\+[0-9]{1,2}|RTMAX-[0-9]{1,2}", text):
        offset = int(re.sub(r"[^0-9]", "", text) or 0)
        number = FIRST_REALTIME + offset if text.startswith("RTMIN") else LAST_REALTIME - offset
        return _signal_of_number(number, text)
    name = SIGNAL_SYNONYMS.get(text, text)
    if name in SIGNALS:
        return f"SIG{name}"
    raise ValueError(f"{value!r} is no signal; {_suggest(text, SIGNALS, 'SIG', 'SIGTERM')}")


def _signal_of_number(number: int, text: str) -> str:
    if 1 <= number <= len(SIGNALS):
        return f"SIG{SIGNALS[number - 1]}"
    if FIRST_REALTIME <= number <= LAST_REALTIME:
        return f"SIGRTMIN+{number - FIRST_REALTIME}" if number > FIRST_REALTIME else "SIGRTMIN"
    raise ValueError(f"{text} is no signal; write a name, as SIGTERM, or a number from 1 to 31 or 34 to 64")


def read_capability(value: Any) -> str:
    """`net_admin`, `CAP_NET_ADMIN` are `NET_ADMIN`; `all` is `ALL`. Raises ValueError."""
    text = read_text(value).strip().upper().removeprefix("CAP_")
    if text == "ALL" or text in CAPABILITIES:
        return text
    raise ValueError(f"{value!r} is no capability; {_suggest(text, CAPABILITIES, '', 'NET_BIND_SERVICE')}")


def read_sysctls(value: Any) -> dict[str, str]:
    """A map or a list of `NAME=VALUE`, by names in canonical form. Only sysctls of a namespace. Raises ValueError."""
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for index, (written, text) in enumerate(read_pairs(value).items()):
        try:
            name = read_sysctl_name(written)
            if text is None or not text.strip() or "\n" in text:
                raise ValueError(f"the sysctl {written!r} has no value; write {name}: VALUE")
            found[name] = " ".join(text.split())
        except ValueError as error:
            faults.append(((written if isinstance(value, Mapping) else index,), str(error)))
    refuse("sysctls", faults)
    return found


def read_sysctl_name(text: str) -> str:
    """`net/core/somaxconn` -> `net.core.somaxconn`; slashes stay where a part holds a dot, as an interface may."""
    separator = "/" if "/" in text else "."
    parts = text.split(separator)
    if len(parts) < 2 or not all(_SYSCTL_PART.fullmatch(part) for part in parts):
        raise ValueError(f"{text!r} is no sysctl; write a name as in net.core.somaxconn")
    if parts[0] != "net" and parts[:2] != ["fs", "mqueue"] and ".".join(parts) not in IPC_SYSCTLS:
        wrong = ".".join(parts)
        near = nearest(wrong, IPC_SYSCTLS)
        meant = (
            f"; did you mean {near}?"
            if near and is_slip(wrong, near)
            else "; set it there, or write one of net.*, fs.mqueue.*, kernel.shm*"
        )
        raise ValueError(f"{text!r} belongs to the whole host{meant}")
    return text if "." in "".join(parts) else ".".join(parts)


def read_ulimit_name(value: Any) -> str:
    """`nofile`, `RLIMIT_NOFILE` (getrlimit(2)). Raises ValueError with the nearest."""
    text = read_text(value).strip().lower().removeprefix("rlimit_")
    if text in ULIMITS:
        return text
    raise ValueError(f"{value!r} is no resource limit; {_suggest(text, ULIMITS, '', 'nofile')}")


def read_device_rule(value: Any) -> str:
    """`c 1:3 mr` -> `c 1:3 rm` (cgroup-v1/devices). Raises ValueError."""
    match = _DEVICE_RULE.fullmatch(" ".join(read_text(value).split()))
    if match is None:
        raise ValueError(f"{value!r} is no device rule; write TYPE MAJOR:MINOR ACCESS, as in c 1:3 rwm")
    kind, major, minor, access = match.groups()
    return f"{kind} {major}:{minor} {order_access(access)}"


def order_access(access: str) -> str:
    """`mwr` -> `rwm`."""
    return "".join(letter for letter in "rwm" if letter in access)


def read_cpuset(value: Any) -> str:
    """`3,0-1,1` -> `0-1,3` (cpuset(7), list format). Raises ValueError."""
    chosen: set[int] = set()
    for item in read_text(value).replace(" ", "").split(","):
        match = _CPU_RANGE.fullmatch(item)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last > LAST_CPU:
            raise ValueError(f"{value!r} is no list of processors; write one as in 0-3 or 0,2")
        chosen.update(range(first, last + 1))
    return ",".join(_ranges(sorted(chosen)))


def _ranges(numbers: list[int]) -> Iterable[str]:
    start = numbers[0]
    for number, following in zip(numbers, [*numbers[1:], None], strict=True):
        if following != number + 1:
            yield str(start) if start == number else f"{start}-{number}"
            start = following if following is not None else start


def _suggest(wrong: str, known: Iterable[str], prefix: str, example: str) -> str:
    near = nearest(wrong, known)
    return f"did you mean {prefix}{near}?" if near else f"write one as in {example}"


_SIGNAL_NAMES = "|".join((*SIGNALS, *SIGNAL_SYNONYMS, r"RTMIN(\+[0-9]{1,2})?", r"RTMAX(-[0-9]{1,2})?"))
SIGNAL = {
    "anyOf": [
        pattern(rf"(SIG|sig)?({_SIGNAL_NAMES}|{_SIGNAL_NAMES.lower()})|[0-9]{{1,2}}"),
        {"type": "integer", "minimum": 1, "maximum": LAST_REALTIME},
    ]
}
CAPABILITY = {
    "anyOf": [
        {"enum": ["ALL", *CAPABILITIES, *(f"CAP_{name}" for name in CAPABILITIES)]},
        pattern("(?:[Cc][Aa][Pp]_)?(?:" + "|".join(("all", *map(str.lower, CAPABILITIES))) + ")"),
    ]
}
SYSCTL_NAME = r"^(net[./]|fs[./]mqueue[./]|kernel[./](shm|msg|sem|auto_msgmni))"
SYSCTLS = {
    "anyOf": [
        {
            "type": "object",
            "propertyNames": {"pattern": SYSCTL_NAME},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
        list_of({"type": "string", "pattern": SYSCTL_NAME + "[^=]*="}),
    ]
}
CPUSET = {"anyOf": [pattern(r"[0-9]+(-[0-9]+)?(, ?[0-9]+(-[0-9]+)?)*"), {"type": "integer", "minimum": 0}]}
DEVICE_RULE = pattern(_DEVICE_RULE.pattern.replace(" ", r"\s+"))

Signal = Annotated[str, Spelling(read_signal, "signal", SIGNAL, final=True)]
Capabilities = Annotated[
    tuple[str, ...], words(read_capability, "list of capability", CAPABILITY, single=True), INTO_BAG, SORTED
]
Sysctls = Annotated[dict[str, str], Spelling(read_sysctls, "map of string", SYSCTLS, final=True)]
Cpuset = Annotated[str, Spelling(read_cpuset, "list of processors", CPUSET, final=True)]
DeviceRules = Annotated[tuple[str, ...], words(read_device_rule, "list of device rule", DEVICE_RULE)]
