"""OCI `linux.seccomp` into a BPF program, kept on disk by the profile's hash, and installed in the calling thread.

Which profile a container gets is decided elsewhere (`seccomp_default`, the reconciler). A program is compiled by the
launcher and its bytes handed to init, which only installs them. Sources: runtime-spec "Seccomp", seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from runtime.kernel import libc, libseccomp
from runtime.kernel.libseccomp import COMPARISONS, Comparison, Filter
from runtime.kernel.seccomp_newer import NEWER, prologue

Profile = Mapping[str, Any]

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
TRACE = 0x7FF00000
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": ALLOW,
}
ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_LOONGARCH64": 0xC0000102,
    "SCMP_ARCH_M68K": 0x00000004,
    "SCMP_ARCH_MIPS": 0x00000008,
    "SCMP_ARCH_MIPS64": 0x80000008,
    "SCMP_ARCH_MIPS64N32": 0xA0000008,
    "SCMP_ARCH_MIPSEL": 0x40000008,
    "SCMP_ARCH_MIPSEL64": 0xC0000008,
    "SCMP_ARCH_MIPSEL64N32": 0xE0000008,
    "SCMP_ARCH_PARISC": 0x0000000F,
    "SCMP_ARCH_PARISC64": 0x8000000F,
    "SCMP_ARCH_PPC": 0x00000014,
    "SCMP_ARCH_PPC64": 0x80000015,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_S390": 0x00000016,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_SH": 0x4000002A,
    "SCMP_ARCH_SHEB": 0x0000002A,
}
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
NEW_LISTENER = 8
SET_MODE_FILTER = 1
FORMAT = "3"
"""Part of every hash: another way of compiling makes another program."""
DIGEST_BYTES = 32


class BadProfile(ValueError):
    """`linux.seccomp` says something that is not in runtime-spec."""


def load(profile: Profile, directory: Path | None = None) -> bytes:
    """The profile's program, from memory, from `directory`, or compiled (about 3 ms) and kept in both.

    Raises BadProfile, libseccomp.MissingLibseccomp. Nothing is trusted on disk that does not match its own digest.
    """
    text = json.dumps(profile, sort_keys=True, separators=(",", ":"))
    return _load(text, directory)


@lru_cache(maxsize=64)
def _load(text: str, directory: Path | None) -> bytes:
    profile = json.loads(text)
    if directory is None:
        return compile_profile(profile)
    key = "\0".join((text, FORMAT, libseccomp.version(), os.uname().machine))
    file = directory / f"{hashlib.sha256(key.encode()).hexdigest()}.bpf"
    return _read(file) or _keep(file, compile_profile(profile))


def _read(file: Path) -> bytes | None:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    digest, program = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return program if hashlib.sha256(program).digest() == digest else None


def _keep(file: Path, program: bytes) -> bytes:
    """A reader sees the old file or the new one. A torn one, after a power cut, does not match its digest."""
    import tempfile  # brings `random`, which reseeds itself in every child of a launcher that has it

    file.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=".new-", dir=file.parent)
    try:
        with os.fdopen(fd, "wb") as new:
            new.write(hashlib.sha256(program).digest() + program)
        Path(name).rename(file)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    return program


def compile_profile(profile: Profile) -> bytes:
    """Raises BadProfile, libseccomp.MissingLibseccomp, OSError."""
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    tokens = [_token(name) for name in profile.get("architectures", ())]
    newer: dict[int, int] = {}
    last_known = _last_number(profile) if default & 0x7FFF0000 == ERRNO else None
    with Filter(default) as made:
        for token in tokens:
            made.add_architecture(token)
        for rule in profile.get("syscalls", ()):
            _add_rule(made, rule, default, newer)
        program = made.export()
    return prologue(newer, tokens or [libseccomp.native_architecture()], last_known) + program


def _last_number(profile: Profile) -> int:
    """The newest call that the profile speaks of."""
    names = {name for rule in profile.get("syscalls", ()) for name in rule["names"]}
    return max((max(libseccomp.resolve(name), NEWER.get(name, 0)) for name in names), default=0)


def _add_rule(made: Filter, rule: Mapping[str, Any], default: int, newer: dict[int, int]) -> None:
    if not rule.get("names"):
        raise BadProfile("linux.seccomp.syscalls: a rule without names")
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:  # libseccomp refuses rules that change nothing
        return
    conditions = list(_conditions(rule.get("args") or ()))
    for name in rule["names"]:
        number = libseccomp.resolve(name)
        if number != libseccomp.UNKNOWN:
            for comparisons in conditions:
                made.add_rule(action, number, comparisons)
        elif name in NEWER and conditions == [[]]:
            newer.setdefault(NEWER[name], action)


def _conditions(arguments: Sequence[Mapping[str, Any]]) -> Iterator[list[Comparison]]:
    """All conditions together, but where one argument is named twice each of them by itself, as other runtimes do."""
    comparisons = [_comparison(argument) for argument in arguments]
    if len({comparison.index for comparison in comparisons}) == len(comparisons):
        yield comparisons
    else:
        yield from ([comparison] for comparison in comparisons)


def _comparison(argument: Mapping[str, Any]) -> Comparison:
    index, operator = argument["index"], argument["op"]
    if not 0 <= index <= 5 or operator not in COMPARISONS:
        raise BadProfile(f"linux.seccomp.syscalls: argument {index} {operator} cannot be compared")
    return Comparison(index, COMPARISONS[operator], argument["value"], argument.get("valueTwo", 0))


def _action(name: str, errno_value: int | None) -> int:
    if name not in ACTIONS:
        raise BadProfile(f"linux.seccomp: unknown action {name!r}")
    action = ACTIONS[name]
    if action not in (ERRNO, TRACE):
        if errno_value is not None:
            raise BadProfile(f"linux.seccomp: {name} takes no errno")
        return action
    value = errno.EPERM if errno_value is None else errno_value
    if not 0 <= value <= 0xFFFF:
        raise BadProfile(f"linux.seccomp: errno {value} is out of range")
    return action | value


def _token(name: str) -> int:
    if name not in ARCHITECTURES:
        raise BadProfile(f"linux.seccomp: unknown architecture {name!r}")
    return ARCHITECTURES[name]


def flags_of(profile: Profile) -> int:
    """The flags of seccomp(2), with a listener where an action asks for one. Raises BadProfile."""
    unknown = [name for name in profile.get("flags", ()) if name not in FLAGS]
    if unknown:
        raise BadProfile(f"linux.seccomp: unknown flag {unknown[0]!r}")
    flags = sum({FLAGS[name] for name in profile.get("flags", ())})
    notifies = any(rule["action"] == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls", ()))
    return flags | (NEW_LISTENER if notifies else 0)


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


_seccomp = libc.system_call("seccomp", ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p)


def install(program: bytes, flags: int = 0) -> int | None:
    """Bind the calling thread (and with TSYNC all) to the program, for good. A listener's descriptor where asked for.

    Raises OSError: EACCES without no-new-privileges or CAP_SYS_ADMIN in the own user namespace.
    """
    code = ctypes.create_string_buffer(program, len(program))
    result = _seccomp(SET_MODE_FILTER, flags, ctypes.byref(_Program(len(program) // 8, ctypes.addressof(code))))
    return result if flags & NEW_LISTENER else None
