"""The default profile: what it forbids is forbidden, and ordinary programs do not notice it."""

from __future__ import annotations

import errno
import os
import platform
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from runtime.kernel import libseccomp, seccomp
from runtime.kernel.capabilities import DEFAULT, NAMES
from runtime.kernel.seccomp_default import default_profile
from runtime.kernel.seccomp_newer import NEWER
from tests.conftest import missing
from tests.kernel.test_seccomp import errnos, number

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

MACHINE = platform.machine()
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
SIGCHLD = 17
ADDR_NO_RANDOMIZE = 0x0040000
EVERYTHING = frozenset(NAMES)


def under_default(calls: Sequence[tuple[int, ...]], capabilities: Iterable[str] = DEFAULT) -> list[int]:
    return errnos(default_profile(capabilities, MACHINE), calls)


_FORBIDDEN = """
    mount umount2 pivot_root unshare setns fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr
    add_key request_key keyctl bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    kexec_load kexec_file_load init_module finit_module delete_module open_by_handle_at reboot swapon swapoff
    syslog quotactl acct settimeofday clock_settime sethostname setdomainname iopl ioperm vhangup fanotify_init
    move_pages migrate_pages mbind set_mempolicy get_mempolicy kcmp pidfd_getfd process_madvise lookup_dcookie
    nfsservctl _sysctl uselib ustat sysfs
"""
FORBIDDEN = _FORBIDDEN.split()


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_dangerous_call_is_forbidden(name: str) -> None:
    """As root, with arguments that the kernel itself would answer otherwise, and that would do no harm."""
    if number(name) < 0:
        pytest.skip(f"{MACHINE} has no {name}")
    assert under_default([(number(name), -1, -1, -1, -1, -1)]) == [errno.EPERM]


def test_a_user_namespace_cannot_be_made_by_any_call() -> None:
    calls = [
        (number("unshare"), CLONE_NEWUSER),
        (number("clone"), CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0),
        (number("clone"), CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0),
        (number("clone3"), 0, 0),
    ]
    assert under_default(calls) == [errno.EPERM, errno.EPERM, errno.EPERM, errno.ENOSYS]


def test_sockets_that_leave_the_container_or_reach_the_crypto_interface_are_forbidden() -> None:
    families = [(number("socket"), family, socket.SOCK_STREAM, 0) for family in (socket.AF_VSOCK, socket.AF_ALG)]
    assert under_default(families) == [errno.EPERM, errno.EPERM]
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    ordinary = [
        (number("socket"), family, kind, 0)
        for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
        for kind in kinds
    ]
    assert under_default([*ordinary, (number("socket"), socket.AF_NETLINK, socket.SOCK_RAW, 0)]) == [0] * 7


def test_no_family_of_sockets_may_be_used_that_docker_forbids() -> None:
    forbidden = [12, 19, 20, 23, 25, 34, 37, 38, 40, 46, 47, 100, 1 << 31]
    asked = [(number("socket"), family, socket.SOCK_STREAM, 0) for family in forbidden]
    assert under_default(asked) == [errno.EPERM] * len(forbidden)


def test_only_harmless_personalities_may_be_taken() -> None:
    personality = number("personality")
    calls = [(personality, value) for value in (0xFFFFFFFF, 0, 0x8, ADDR_NO_RANDOMIZE, 0x0400000)]
    assert under_default(calls) == [0, 0, 0, errno.EPERM, errno.EPERM]


def test_a_process_may_debug_its_own_kind() -> None:
    assert under_default([(number("ptrace"), 0, 0, 0, 0)]) == [0]


def test_calls_that_nobody_knew_are_unknown_and_not_forbidden() -> None:
    assert under_default([(600,), (9999,)]) == [errno.ENOSYS, errno.ENOSYS]


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "unshare"),
        ("CAP_SYS_ADMIN", "clone3"),
        ("CAP_SYS_PTRACE", "kcmp"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYS_MODULE", "delete_module"),
    ],
)
def test_a_capability_brings_its_calls(capability: str, name: str) -> None:
    arguments = (number(name), 0, 0, 0, 0, 0)
    (without,) = under_default([arguments])
    (granted,) = under_default([arguments], {*DEFAULT, capability})
    assert without == (errno.ENOSYS if name == "clone3" else errno.EPERM)
    # a kernel without loadable modules does not know the call at all
    assert granted not in {errno.EPERM, errno.ENOSYS if name != "delete_module" else errno.EPERM}


def test_even_with_all_capabilities_some_calls_stay_forbidden() -> None:
    names = ["add_key", "keyctl", "io_uring_setup", "userfaultfd", "kexec_load", "swapon"]
    assert under_default([(number(name), 0, 0, 0, 0) for name in names], EVERYTHING) == [errno.EPERM] * len(names)


@pytest.mark.skipif(MACHINE != "x86_64", reason="about the other call conventions of x86_64")
def test_the_x32_door_is_guarded_as_well() -> None:
    assert under_default([(0x40000000 | number("mount"), 0, 0, 0, 0, 0)]) == [errno.EPERM]


@pytest.mark.skipif(MACHINE != "x86_64", reason="about the other call conventions of x86_64")
@pytest.mark.parametrize(
    ("call", "expected"),
    [(21, errno.EPERM), (310, errno.EPERM), (102, errno.ENOSYS), (435, errno.ENOSYS), (600, errno.ENOSYS), (64, None)],
    ids=["mount", "unshare", "socketcall", "clone3", "unknown", "getppid"],
)
def test_the_32_bit_door_is_guarded_as_well(tmp_path: Path, call: int, expected: int | None) -> None:
    program = tmp_path / "small"
    program.write_bytes(small_program(call))
    program.chmod(0o755)
    try:
        code = run_confined([str(program)]).returncode
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        missing("32-bit programs (CONFIG_IA32_EMULATION)")
    if expected is None:
        assert code == 0
    else:
        assert code == expected


def small_program(call: int) -> bytes:
    """A 32-bit ELF program that makes the call without arguments and exits with its errno, 0 for success."""
    code = b"\xb8" + struct.pack("<I", call)  # mov eax, call
    code += b"\x31\xdb\x31\xc9\x31\xd2\x31\xf6\x31\xff"  # xor ebx, ecx, edx, esi, edi
    code += b"\xcd\x80\x31\xdb\x85\xc0\x79\x04\xf7\xd8\x89\xc3"  # int 0x80; ebx = eax < 0 ? -eax : 0
    code += b"\xb8\x01\x00\x00\x00\xcd\x80"  # exit(ebx)
    base, headers = 0x08048000, 52 + 32
    elf = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    elf += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + headers, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    elf += struct.pack("<IIIIIIII", 1, 0, base, base, headers + len(code), headers + len(code), 5, 0x1000)
    return elf + code


def run_confined(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    program = seccomp.load(default_profile(DEFAULT, MACHINE))

    def confine() -> None:
        seccomp.install(program)

    return subprocess.run(command, preexec_fn=confine, input=text, capture_output=True, text=True, check=False)


def test_busybox_runs(busybox_tree: Path) -> None:
    script = "ls / | wc -l; echo hello | tr a-z A-Z; ps >/dev/null; id -u; sleep 0.01; (cd /tmp && pwd); date +%Y"
    done = run_confined([str(busybox_tree / "bin/busybox"), "sh", "-e", "-c", script])
    assert done.returncode == 0, done.stderr
    assert "HELLO" in done.stdout


def test_python_with_threads_children_sockets_and_files_runs() -> None:
    script = """
import asyncio, concurrent.futures, multiprocessing, os, socket, sqlite3, subprocess, tempfile, threading, time
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert list(pool.map(abs, [-1, 2])) == [1, 2]
async def talk():
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper()); writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\\n"); assert await reader.readline() == b"HELLO\\n"; writer.close(); server.close()
asyncio.run(talk())
assert subprocess.run(["/bin/sh", "-c", "exit 7"]).returncode == 7
with tempfile.TemporaryDirectory() as directory:
    database = sqlite3.connect(os.path.join(directory, "x.db"))
    database.execute("create table t (a)"); database.commit(); database.close()
multiprocessing.get_context("fork").Process(target=abs, args=(1,)).start()
os.sched_setaffinity(0, os.sched_getaffinity(0)); os.getrandom(8); os.memfd_create("x")
print("all well")
"""
    done = run_confined([sys.executable, "-S", "-c", script])
    assert done.stdout == "all well\n", done.stderr


def test_changing_the_user_runs() -> None:
    done = run_confined(
        [sys.executable, "-S", "-c", "import os; os.setgroups([5]); os.setgid(7); os.setuid(9); print(os.getuid())"]
    )
    assert done.stdout == "9\n", done.stderr


def test_the_profile_is_one_that_runtime_spec_knows() -> None:
    for machine in ("x86_64", "amd64", "aarch64", "arm64", "riscv64", "ppc64le", "s390x", "mips"):
        profile = default_profile(DEFAULT, machine)
        assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
        names = [name for rule in profile["syscalls"] for name in rule["names"] if "args" not in rule]
        assert len(names) == len(set(names)), "a name stands in two rules"


def test_go_and_kernel_names_of_a_machine_mean_the_same() -> None:
    assert default_profile(DEFAULT, "amd64") == default_profile(DEFAULT, "x86_64")


def test_no_name_is_misspelt() -> None:
    """Names of other architectures resolve to numbers below zero; only one is newer than every library."""
    names = {name for rule in default_profile(EVERYTHING, MACHINE)["syscalls"] for name in rule["names"]}
    unknown = {name for name in names - NEWER.keys() if libseccomp.resolve(name) == libseccomp.UNKNOWN}
    assert "getppid" in names and unknown <= {"uretprobe"}


def test_a_program_file_of_root_stays_owned_by_root(tmp_path: Path) -> None:
    seccomp.load(default_profile(DEFAULT, MACHINE), tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_uid == os.geteuid()
