"""The seccomp profile of a container that names none: what ordinary programs call, and nothing more.

An allow list. Other calls fail with EPERM, calls newer than the list with ENOSYS (see `seccomp_newer`), so that
programs use their older way. Calls that need a capability are allowed with that capability alone: the kernel would
refuse them anyway, and is not asked. Pure: a dictionary in the form of OCI `linux.seccomp`. Kept at least as strict as
Docker's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

FILES = """
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
    fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat ioctl lchown lchown32 lgetxattr link linkat
    listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat
    name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr
    setxattrat splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs tee truncate
    truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev cachestat
"""
WAITING = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
    io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect pipe pipe2 poll ppoll ppoll_time64
    pselect6 pselect6_time64 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64
"""
MEMORY = """
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
    mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages
"""
PROCESSES = """
    capget capset execve execveat exit exit_group fork getcpu getegid getegid32 geteuid geteuid32 getgid getgid32
    getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32
    getrlimit getrusage getsid gettid getuid getuid32 get_robust_list get_thread_area ioprio_get ioprio_set kill pause
    pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease rseq sched_getaffinity sched_getattr sched_getparam
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
    setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid
    set_thread_area set_tid_address setuid setuid32 tgkill tkill ugetrlimit vfork wait4 waitid waitpid
"""
DEBUGGING = """
    process_vm_readv process_vm_writev ptrace
"""
"""Safe for seccomp since Linux 4.8, when ptrace stopped being a way around it; ptrace's own checks remain."""
SIGNALS = """
    alarm getitimer restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo setitimer sigaltstack sigprocmask sigreturn
    uretprobe
"""
TIME = """
    adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 gettimeofday nanosleep time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64 times
"""
LOCKS_AND_MESSAGES = """
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake ipc mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd
    semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
"""
NETWORK = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair
"""
SYSTEM = """
    getrandom landlock_add_rule landlock_create_ruleset landlock_restrict_self listmount seccomp statmount sysinfo
    uname
"""

WITH_CAPABILITY = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lsm_get_self_attr lsm_list_modules
        lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd
        setdomainname sethostname setns syslog umount umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}

NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: a user namespace is where most escapes begin."""
FORBIDDEN_FAMILIES = frozenset({12, 19, 20, 23, 25, 34, 37, 38, 40})
"""DECnet, Econet, ATM, IrDA, WAN pipes, ISDN, CAIF: old, seldom used, or gone. The crypto interface (38) has had many
holes; VSOCK (40) ignores network namespaces and reaches the host."""
FAMILIES = tuple(number for number in range(46) if number not in FORBIDDEN_FAMILIES)
"""Families of sockets, as socket(2) numbers them; those that came later are not known to be harmless."""
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, 32 bits, the old uname, both; and the question which one is set. None switches a protection off."""

ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
    "loongarch64": ("SCMP_ARCH_LOONGARCH64",),
}
"""By uname's machine: the native one, and those whose programs its kernel runs too."""
OF_ARCHITECTURE = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    "riscv64": "riscv_flush_icache riscv_hwprobe",
    "ppc64le": "swapcontext sync_file_range2",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
}
GO_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


def default_profile(capabilities: Iterable[str], architecture: str) -> dict[str, Any]:
    """The profile for a container with these capabilities (its bounding set: `CAP_CHOWN`) on this machine.

    `architecture` is uname's machine or OCI's name of it. An unknown one gets the native architecture alone.
    """
    machine = GO_NAMES.get(architecture, architecture)
    held = set(capabilities)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": list(ARCHITECTURES.get(machine, ())),
        "syscalls": [_allow(sorted(_names(held, machine))), *_by_argument(held, machine)],
    }


def _names(held: set[str], machine: str) -> set[str]:
    groups = (FILES, WAITING, MEMORY, PROCESSES, DEBUGGING, SIGNALS, TIME, LOCKS_AND_MESSAGES, NETWORK, SYSTEM)
    granted = [names for capability, names in WITH_CAPABILITY.items() if capability in held]
    return {name for group in (*groups, *granted, OF_ARCHITECTURE.get(machine, "")) for name in group.split()}


def _by_argument(held: set[str], machine: str) -> list[dict[str, Any]]:
    rules = [_allow(["personality"], 0, "SCMP_CMP_EQ", value) for value in PERSONALITIES]
    # below the first forbidden one by one comparison: these are the usual ones
    rules.append(_allow(["socket"], 0, "SCMP_CMP_LT", min(FORBIDDEN_FAMILIES)))
    rules += [_allow(["socket"], 0, "SCMP_CMP_EQ", each) for each in FAMILIES if each > min(FORBIDDEN_FAMILIES)]
    # the multiplexer of 32-bit x86 hides its arguments from seccomp: programs fall back to the plain calls
    rules.append(_enosys("socketcall"))
    if "CAP_SYS_ADMIN" not in held:
        flags_at = 1 if machine == "s390x" else 0
        rules.append(_allow(["clone"], flags_at, "SCMP_CMP_MASKED_EQ", NAMESPACE_FLAGS, 0))
        # its flags stand in memory, where seccomp cannot look: programs fall back to clone
        rules.append(_enosys("clone3"))
    return rules


def _allow(names: list[str], index: int = 0, op: str = "", value: int = 0, second: int | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": "SCMP_ACT_ALLOW"}
    if op:
        argument = {"index": index, "value": value, "op": op}
        rule["args"] = [argument if second is None else argument | {"valueTwo": second}]
    return rule


def _enosys(name: str) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}
