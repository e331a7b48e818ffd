"""libseccomp.so.2 through ctypes: the few calls that turn rules into a BPF program.

Loaded at first use, since most commands never need it. Called by `seccomp` only. Source: libseccomp(3) pages.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

UNKNOWN = -1
"""What a name resolves to that the library does not know."""
ATTRIBUTE_OPTIMIZE = 8
BINARY_TREE = 2
COMPARISONS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}


class MissingLibseccomp(OSError):
    """This machine has no libseccomp.so.2."""

    def __init__(self) -> None:
        super().__init__(
            errno.ENOENT, "libseccomp.so.2 is missing: install libseccomp2 (Debian) or libseccomp (Fedora)"
        )


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = [
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    ]


class Filter:
    """One filter under construction. Close it, or use it in a `with`."""

    def __init__(self, default_action: int) -> None:
        self._library = library()
        self._context = self._library.seccomp_init(default_action)
        if not self._context:
            raise OSError(errno.EINVAL, f"seccomp_init refused the default action {default_action:#x}")
        # a tree instead of a chain: the kernel tries every call on a program it installs, and takes half the time.
        # Before libseccomp 2.5 there are only chains, which is no error
        self._library.seccomp_attr_set(self._context, ATTRIBUTE_OPTIMIZE, BINARY_TREE)

    def __enter__(self) -> Filter:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.seccomp_release(self._context)

    def add_architecture(self, token: int) -> None:
        """One that is there already, as the native one is, is no error."""
        _check(self._library.seccomp_arch_add(self._context, token), "seccomp_arch_add", errno.EEXIST)

    def add_rule(self, action: int, number: int, comparisons: Sequence[Comparison]) -> None:
        """A rule that is there already is no error."""
        array = (Comparison * len(comparisons))(*comparisons)
        result = self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), array)
        _check(result, "seccomp_rule_add_array", errno.EEXIST)

    def export(self) -> bytes:
        """The program: classic BPF, 8 bytes an instruction."""
        fd = os.memfd_create("seccomp")
        try:
            _check(self._library.seccomp_export_bpf(self._context, fd), "seccomp_export_bpf")
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)


def resolve(name: str) -> int:
    """The system call's number here; negative pseudo numbers for those of other architectures; UNKNOWN."""
    return int(library().seccomp_syscall_resolve_name(name.encode()))


def native_architecture() -> int:
    """The token of this machine (an AUDIT_ARCH value)."""
    return int(library().seccomp_arch_native())


def version() -> str:
    """As `2.5.4`."""
    found = library().seccomp_version().contents
    return f"{found.major}.{found.minor}.{found.micro}"


@cache
def library() -> Any:
    """Raises MissingLibseccomp."""
    try:
        found = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        raise MissingLibseccomp from None
    found.seccomp_init.restype = ctypes.c_void_p
    found.seccomp_init.argtypes = [ctypes.c_uint32]
    found.seccomp_release.argtypes = [ctypes.c_void_p]
    found.seccomp_release.restype = None
    found.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    found.seccomp_arch_native.restype = ctypes.c_uint32
    found.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    found.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    found.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    found.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    ]
    found.seccomp_version.restype = ctypes.POINTER(_Version)
    return found


class _Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint)]


def _check(result: int, call: str, tolerated: int = 0) -> None:
    if result < 0 and -result != tolerated:
        raise OSError(-result, f"{call}: {os.strerror(-result)}")
