"""The five sets of capabilities: read, reduced, applied before a container's program runs.

Which a container gets is decided by its manifest; here stand the names, the default set and the calls. Sources:
capabilities(7), capset(2), prctl(2), include/uapi/linux/capability.h.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runtime.kernel import libc

_BY_NUMBER = """
    CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP
    CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER
    CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE
    CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL
    CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ
    CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE
"""
_DEFAULT = """
    CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_BIND_SERVICE
    CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT
"""
NAMES = tuple(_BY_NUMBER.split())
"""By number, from 0."""
NUMBERS = {name: number for number, name in enumerate(NAMES)}

DEFAULT = frozenset(_DEFAULT.split())
"""What Docker gives a container that asks for nothing."""

VERSION_3 = 0x20080522
BOUNDING_READ, BOUNDING_DROP, GET_SECUREBITS, SET_SECUREBITS, AMBIENT = 23, 24, 27, 28, 47
AMBIENT_IS_SET, AMBIENT_RAISE, AMBIENT_CLEAR_ALL = 1, 2, 4

_capget = libc.function("capget", ctypes.c_char_p, ctypes.c_char_p)
_capset = libc.function("capset", ctypes.c_char_p, ctypes.c_char_p)
_prctl = libc.function("prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


class UnknownCapability(ValueError):
    """Not the name of a capability."""


@dataclass(frozen=True, slots=True)
class Sets:
    """The sets of the calling thread, as names."""

    effective: frozenset[str]
    permitted: frozenset[str]
    inheritable: frozenset[str]
    bounding: frozenset[str]
    ambient: frozenset[str]


def normal_name(name: str) -> str:
    """`net_admin` and `CAP_NET_ADMIN` -> `CAP_NET_ADMIN`. Raises UnknownCapability."""
    full = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
    if full not in NUMBERS:
        raise UnknownCapability(f"{name!r} is not a capability")
    return full


@cache
def last_capability() -> int:
    """The highest number this kernel knows."""
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def known() -> frozenset[str]:
    """Names of the capabilities that both this kernel and we know."""
    return frozenset(NAMES[: last_capability() + 1])


def read() -> Sets:
    """The calling thread's."""
    effective, permitted, inheritable = (_names(bits) for bits in capget())
    bounding = {name for name in known() if _prctl(BOUNDING_READ, NUMBERS[name], 0, 0, 0)}
    ambient = {name for name in known() if _prctl(AMBIENT, AMBIENT_IS_SET, NUMBERS[name], 0, 0)}
    return Sets(effective, permitted, inheritable, frozenset(bounding), frozenset(ambient))


def capget() -> tuple[int, int, int]:
    """Effective, permitted and inheritable bits of the calling thread."""
    data = ctypes.create_string_buffer(24)
    _capget(struct.pack("=Ii", VERSION_3, 0), data)
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("=6I", data.raw)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Raises OSError(EPERM) for more than is held."""
    sets = (effective, permitted, inheritable)
    data = struct.pack("=6I", *(bits & 0xFFFFFFFF for bits in sets), *(bits >> 32 for bits in sets))
    _capset(struct.pack("=Ii", VERSION_3, 0), data)


def drop_bounding(keep: Iterable[str]) -> None:
    """Take everything else out of the bounding set, for good. Needs CAP_SETPCAP."""
    kept = {NUMBERS[name] for name in keep if name in NUMBERS}
    # up to the kernel's last, not ours: what we have no name for must go too
    for number in range(last_capability() + 1):
        if number not in kept:
            _drop(number)


def _drop(number: int) -> None:
    try:
        _prctl(BOUNDING_DROP, number, 0, 0, 0)
    except PermissionError:
        # what is not there need not go
        if _prctl(BOUNDING_READ, number, 0, 0, 0):
            raise


def apply(
    bounding: Iterable[str],
    permitted: Iterable[str],
    inheritable: Iterable[str],
    effective: Iterable[str],
    ambient: Iterable[str],
) -> frozenset[str]:
    """Reduce the calling thread to these sets (`CAP_CHOWN`); returns what was asked for and could not be had.

    To be called after the last setuid(2), made under keepcaps (prctl(2)), and before no-new-privileges matters: execve
    computes the new program's sets from these. Raises OSError(EPERM) without CAP_SETPCAP.
    """
    _, held, _ = capget()
    wanted = {name: _bits(names) for name, names in (("p", permitted), ("i", inheritable), ("e", effective))}
    raised = _bits(ambient)
    # a change of user empties the effective set: the bounding set needs CAP_SETPCAP once more
    capset(held, held, 0)
    _prctl(AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0)
    drop_bounding(bounding)
    capset(wanted["e"] & wanted["p"] & held, wanted["p"] & held, wanted["i"] & held)
    possible = raised & wanted["p"] & wanted["i"] & held
    for name in _names(possible):
        _prctl(AMBIENT, AMBIENT_RAISE, NUMBERS[name], 0, 0)
    asked = wanted["p"] | wanted["i"] | wanted["e"]
    return _names(asked & ~held | raised & ~possible)


def securebits() -> int:
    """Flags that change what root's user id means (capabilities(7), "The securebits flags")."""
    return _prctl(GET_SECUREBITS, 0, 0, 0, 0)


def set_securebits(bits: int) -> None:
    """Needs CAP_SETPCAP."""
    _prctl(SET_SECUREBITS, bits, 0, 0, 0)


def _bits(names: Iterable[str]) -> int:
    """A name this kernel is too old for has no bit; raises UnknownCapability for what is none."""
    numbers = {NUMBERS[normal_name(name)] for name in names}
    return sum(1 << number for number in numbers if number <= last_capability())


def _names(bits: int) -> frozenset[str]:
    return frozenset(name for name, number in NUMBERS.items() if bits >> number & 1)
