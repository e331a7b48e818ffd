"""What a process says about itself: prctl(2), personality(2), file-system ids, host name, keyring, priorities.

One thin function per call. Capabilities, seccomp and resource limits have files of their own.
"""

from __future__ import annotations

import ctypes
import os
import struct

from runtime.kernel import libc

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38

SECBIT_NO_SETUID_FIXUP = 1 << 2

KEYCTL_JOIN_SESSION_KEYRING = 1

_prctl = libc.function("prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_prctl_text = libc.function("prctl", ctypes.c_int, ctypes.c_char_p)
_personality = libc.function("personality", ctypes.c_ulong)
_setfsuid = libc.function("setfsuid", ctypes.c_uint)
_setfsgid = libc.function("setfsgid", ctypes.c_uint)
_setdomainname = libc.function("setdomainname", ctypes.c_char_p, ctypes.c_size_t)
_keyctl = libc.system_call("keyctl", ctypes.c_int, ctypes.c_char_p)
_ioprio_set = libc.system_call("ioprio_set", ctypes.c_int, ctypes.c_int, ctypes.c_int)
_rt_sigaction = libc.system_call("rt_sigaction", ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_sched_setattr = libc.system_call("sched_setattr", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def prctl(option: int, value: int = 0) -> int:
    """prctl(2) with one number."""
    return _prctl(option, value, 0, 0, 0)


def set_name(name: str) -> None:
    """PR_SET_NAME: the first 15 bytes show in ps(1)."""
    _prctl_text(PR_SET_NAME, name.encode()[:15])


def set_dumpable(dumpable: bool) -> None:
    """PR_SET_DUMPABLE: whether others of the same user may open this process's memory and descriptors."""
    prctl(PR_SET_DUMPABLE, int(dumpable))


def set_no_new_privs() -> None:
    """PR_SET_NO_NEW_PRIVS."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_securebits(bits: int) -> None:
    """PR_SET_SECUREBITS (capabilities(7))."""
    prctl(PR_SET_SECUREBITS, bits)


def personality(persona: int) -> None:
    """personality(2)."""
    _personality(persona)


def set_file_system_ids(uid: int, gid: int) -> None:
    """setfsgid(2) and setfsuid(2): who the files made from now on belong to. The calls cannot report errors."""
    _setfsgid(gid)
    _setfsuid(uid)


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    text = name.encode()
    _setdomainname(text, len(text))


def join_session_keyring(name: str) -> None:
    """keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: a session keyring of its own."""
    _keyctl(KEYCTL_JOIN_SESSION_KEYRING, name.encode())


def ioprio_set(io_class: int, level: int) -> None:
    """ioprio_set(2) for the caller: class 1 real time, 2 best effort, 3 idle; level 0 to 7."""
    _ioprio_set(1, 0, io_class << 13 | level)


def sched_setattr(
    policy: int, flags: int = 0, nice: int = 0, priority: int = 0, times: tuple[int, int, int] = (0, 0, 0)
) -> None:
    """sched_setattr(2) for the caller; `times` are runtime, deadline and period in nanoseconds."""
    data = struct.pack("=IIQiIQQQ", 48, policy, flags, nice, priority, *times)
    _sched_setattr(0, data, 0)


def set_oom_score_adj(pid: int | str, score: int) -> None:
    """Write `/proc/PID/oom_score_adj`, -1000 to 1000."""
    descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(score).encode())
    finally:
        os.close(descriptor)


def default_action(number: int) -> None:
    """rt_sigaction(2) SIG_DFL, also for the signals that libc keeps to itself (32 and 33)."""
    _rt_sigaction(number, b"\0" * 32, None, 8)
