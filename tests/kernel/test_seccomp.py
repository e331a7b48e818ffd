"""Profiles become programs that do what the profile says, on the real kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel import libseccomp, seccomp
from runtime.kernel.seccomp import BadProfile
from tests.kernel.children import end_of_child, in_child

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
SYSCALL.restype = ctypes.c_long


def call(number: int, *arguments: int) -> int:
    """The errno of a system call, 0 for success."""
    words = [ctypes.c_long(argument) for argument in arguments]
    ctypes.set_errno(0)
    return ctypes.get_errno() if SYSCALL(ctypes.c_long(number), *words) == -1 else 0


def errnos(profile: dict[str, Any], calls: Sequence[tuple[int, ...]]) -> list[int]:
    """The errno of each call under the profile."""

    def confined() -> list[int]:
        os.setsid()  # no terminal to lose, should vhangup pass
        seccomp.install(program, seccomp.flags_of(profile))
        return [call(*numbers) for numbers in calls]

    program = seccomp.load(profile)
    return in_child(confined)


def deny(*names: str, **more: Any) -> dict[str, Any]:
    """Everything is allowed but these."""
    rule = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": 99, **more}
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}


def number(name: str) -> int:
    return libseccomp.resolve(name)


UMASK, GETPPID = number("umask"), number("getppid")


def test_a_denied_call_returns_the_profiles_errno() -> None:
    assert errnos(deny("getppid"), [(GETPPID,), (UMASK, 0o22)]) == [99, 0]


def test_without_an_errno_it_is_eperm() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}]}
    assert errnos(profile, [(GETPPID,)]) == [errno.EPERM]


@pytest.mark.parametrize(
    ("operator", "denied"),
    [
        ("SCMP_CMP_NE", {1, 2, 4, 5}),
        ("SCMP_CMP_LT", {1, 2}),
        ("SCMP_CMP_LE", {1, 2, 3}),
        ("SCMP_CMP_EQ", {3}),
        ("SCMP_CMP_GE", {3, 4, 5}),
        ("SCMP_CMP_GT", {4, 5}),
    ],
)
def test_an_argument_is_compared(operator: str, denied: set[int]) -> None:
    profile = deny("umask", args=[{"index": 0, "value": 3, "op": operator}])
    found = errnos(profile, [(UMASK, value) for value in range(1, 6)])
    assert {value for value, code in enumerate(found, 1) if code == 99} == denied


def test_an_argument_is_compared_under_a_mask() -> None:
    profile = deny("umask", args=[{"index": 0, "value": 6, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}])
    found = errnos(profile, [(UMASK, value) for value in range(8)])
    assert [value for value, code in enumerate(found) if code == 99] == [2, 3]


def test_conditions_on_two_arguments_must_both_hold() -> None:
    arguments = [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]
    getpriority = number("getpriority")
    assert errnos(deny("getpriority", args=arguments), [(getpriority, 0, 7), (getpriority, 0, 0)]) == [99, 0]


def test_conditions_on_the_same_argument_are_alternatives() -> None:
    arguments = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 4)]
    found = errnos(deny("umask", args=arguments), [(UMASK, value) for value in range(6)])
    assert [value for value, code in enumerate(found) if code == 99] == [1, 4]


@pytest.mark.parametrize(
    ("action", "end"),
    [
        ("SCMP_ACT_KILL_PROCESS", -signal.SIGSYS),
        ("SCMP_ACT_KILL", -signal.SIGSYS),
        ("SCMP_ACT_KILL_THREAD", -signal.SIGSYS),
        ("SCMP_ACT_TRAP", -signal.SIGSYS),
        ("SCMP_ACT_LOG", 0),
        ("SCMP_ACT_ALLOW", 0),
        ("SCMP_ACT_TRACE", 0),
        ("SCMP_ACT_ERRNO", 0),
    ],
)
def test_every_action_has_its_end(action: str, end: int) -> None:
    default = "SCMP_ACT_ERRNO" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    rule = {"names": ["getppid"], "action": action}
    profile = {"defaultAction": default, "syscalls": [rule, {"names": ["exit_group"], "action": "SCMP_ACT_ALLOW"}]}
    program = seccomp.load(profile)

    def confined() -> None:
        seccomp.install(program)
        call(GETPPID)

    assert end_of_child(confined) == end


def test_a_traced_call_without_a_tracer_is_enosys() -> None:
    profile = deny("getppid") | {"syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_TRACE"}]}
    assert errnos(profile, [(GETPPID,)]) == [errno.ENOSYS]


def test_notify_gives_a_listener() -> None:
    profile = deny("getppid") | {"syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}]}
    program, flags = seccomp.load(profile), seccomp.flags_of(profile)

    def listens() -> str:
        listener = seccomp.install(program, flags)
        assert listener is not None
        return str(Path(f"/proc/self/fd/{listener}").readlink())

    assert in_child(listens) == "anon_inode:seccomp notify"


def test_flags_are_those_of_the_call_and_unknown_ones_refused() -> None:
    profile = deny("getppid") | {"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}
    assert seccomp.flags_of(profile) == 6
    assert errnos(profile, [(GETPPID,)]) == [99]
    with pytest.raises(BadProfile, match="SECCOMP_FILTER_FLAG_NONE"):
        seccomp.flags_of({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NONE"]})


def test_a_call_newer_than_libseccomp_is_decided_too() -> None:
    """mseal came with Linux 6.10; Debian 12's library is older."""
    names = ["mseal", "cachestat", "getppid"]
    denied = errnos(deny(*names), [(462, 0, 0, 0), (451, 0, 0, 0, 0), (GETPPID,), (UMASK, 0o22)])
    assert denied == [99, 99, 99, 0]


def test_a_call_newer_than_an_allow_list_is_unknown_and_an_older_one_forbidden() -> None:
    needed = {"names": ["write", "exit_group", "mmap", "munmap", "brk", "close", "mseal"], "action": "SCMP_ACT_ALLOW"}
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [needed]}
    assert errnos(profile, [(GETPPID,), (461,), (463,), (9999,)]) == [
        errno.EPERM,
        errno.EPERM,
        errno.ENOSYS,
        errno.ENOSYS,
    ]


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (deny("getppid", action="SCMP_ACT_PERHAPS"), "unknown action"),
        (deny("getppid", action="SCMP_ACT_ALLOW"), "takes no errno"),
        (deny("getppid", errnoRet=70_000), "out of range"),
        (deny(), "without names"),
        (deny("umask", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]), "cannot be compared"),
        (deny("umask", args=[{"index": 0, "value": 0, "op": "SCMP_CMP_LIKE"}]), "cannot be compared"),
        (deny("getppid") | {"architectures": ["SCMP_ARCH_VAX"]}, "unknown architecture"),
    ],
)
def test_a_profile_that_is_not_runtime_specs_is_refused(profile: dict[str, Any], message: str) -> None:
    with pytest.raises(BadProfile, match=message):
        seccomp.compile_profile(profile)


def test_a_program_is_compiled_once_and_then_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = seccomp.load(deny("getppid"), tmp_path)
    (file,) = tmp_path.iterdir()
    seccomp._load.cache_clear()
    monkeypatch.setattr(seccomp, "compile_profile", lambda profile: pytest.fail("compiled again"))
    assert seccomp.load(deny("getppid"), tmp_path) == first
    file.unlink()
    assert seccomp.load(deny("getppid"), tmp_path) == first  # from memory


def test_another_profile_is_another_file(tmp_path: Path) -> None:
    seccomp.load(deny("getppid"), tmp_path)
    seccomp.load(deny("getpgrp"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kept", [0, 40, -8], ids=["nothing", "the beginning", "all but the end"])
def test_a_torn_or_changed_file_is_compiled_anew(tmp_path: Path, kept: int) -> None:
    good = seccomp.load(deny("getppid"), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:kept])
    seccomp._load.cache_clear()
    assert seccomp.load(deny("getppid"), tmp_path) == good
    assert file.read_bytes()[seccomp.DIGEST_BYTES :] == good


def test_a_machine_without_the_library_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise OSError("cannot open shared object file")

    libseccomp.library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    try:
        with pytest.raises(libseccomp.MissingLibseccomp, match="libseccomp2"):
            seccomp.compile_profile(deny("getppid"))
    finally:
        libseccomp.library.cache_clear()


def test_installing_needs_privilege_or_no_new_privileges() -> None:
    program = seccomp.load(deny("getppid"))

    def unprivileged() -> int:
        os.setresuid(1000, 1000, 1000)
        try:
            seccomp.install(program)
        except OSError as error:
            return error.errno or 0
        return 0

    assert in_child(unprivileged) == errno.EACCES


def test_sockets_of_a_family_can_be_denied() -> None:
    family = [{"index": 0, "value": socket.AF_INET6, "op": "SCMP_CMP_EQ"}]
    numbers = [(number("socket"), socket.AF_INET6, 1, 0), (number("socket"), socket.AF_INET, 1, 0)]
    assert errnos(deny("socket", args=family), numbers) == [99, 0]
