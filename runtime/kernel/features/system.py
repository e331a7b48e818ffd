"""Probes of the rest: calls, namespaces, cgroups, confinement, libraries. Each returns a detail or raises OSError."""

from __future__ import annotations

import errno
import os
import re
from functools import partial
from pathlib import Path

from runtime.kernel import apparmor, bpf, cgroup, libc, libseccomp, nftables, quota, rlimits
from runtime.kernel.cgroup import device_program, devices
from runtime.kernel.cgroup.files import Directory

FLOOR = (6, 1)
CLONE3, OPENAT2 = 435, 437


def kernel(_: Path) -> str:
    """Its release. Raises OSError (ENOSYS) below the floor."""
    release = os.uname().release
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None or (int(found[1]), int(found[2])) < FLOOR:
        raise OSError(errno.ENOSYS, f"Linux {release} is older than {FLOOR[0]}.{FLOOR[1]}")
    return release


def call(number: int, _: Path) -> str:
    """Whether the kernel knows a call: asked with arguments that it must refuse."""
    try:
        libc.system_call(number)(0, 0, 0, 0)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise
    return ""


def pidfd(_: Path) -> str:
    """Raises OSError where pidfd_open(2) is missing."""
    os.close(os.pidfd_open(os.getpid()))
    return ""


def namespace(file: str, _: Path) -> str:
    """Raises OSError (ENOENT) where the kernel has no such namespace."""
    os.stat(f"/proc/self/ns/{file}")
    return ""


def cgroups(_: Path) -> str:
    """The version in use."""
    return cgroup.detect()


def controller(name: str, _: Path) -> str:
    """The version that holds it. Raises OSError (ENOENT)."""
    home = cgroup.hierarchies().home(name)
    if home is None:
        raise OSError(errno.ENOENT, "neither in v1 nor in v2")
    return f"v{home.version}"


def swap_accounting(_: Path) -> str:
    """The root cgroup of v2 has no limits: any other with the memory controller tells."""
    home = cgroup.hierarchies().home("memory")
    if home is None:
        raise OSError(errno.ENOENT, "there is no memory controller")
    if home.version == 1:
        if not Directory(home.mount, 1).has("memory.memsw.limit_in_bytes"):
            raise OSError(errno.ENOENT, "memory.memsw.limit_in_bytes is missing")
        return ""
    limited = [path.parent for path in Path(home.mount).glob("*/memory.max")]
    if limited and not (limited[0] / "memory.swap.max").exists():
        raise OSError(errno.ENOENT, "memory.swap.max is missing")
    return "" if limited else "not seen yet: no cgroup has the memory controller"


def device_rules(_: Path) -> str:
    """v1's controller, or a program that the verifier takes."""
    home = cgroup.hierarchies().home("devices")
    if home is not None and home.version == 1:
        return "v1"
    os.close(bpf.load_device_program(device_program.assemble(devices.container_policy([])), "probe"))
    return "BPF"


def kill_at_once(_: Path) -> str:
    """Raises OSError (ENOENT) without cgroup.kill."""
    unified = cgroup.hierarchies().unified
    if cgroup.hierarchies().v1 or unified is None:
        raise OSError(errno.ENOENT, "cgroup v2 only")
    if not any(Path(unified).glob("*/cgroup.kill")):
        raise OSError(errno.ENOENT, "cgroup.kill is missing (Linux 5.14)")
    return ""


def pressure(_: Path) -> str:
    """Raises OSError (ENOENT) without pressure stall information."""
    try:
        Path("/proc/pressure/memory").read_text()
    except FileNotFoundError:
        raise OSError(errno.ENOENT, "/proc/pressure is missing") from None
    return ""


def seccomp(_: Path) -> str:
    """The actions that the kernel knows."""
    return Path("/proc/sys/kernel/seccomp/actions_avail").read_text().strip()


def libseccomp_version(_: Path) -> str:
    """As the library tells it."""
    return libseccomp.version()


def nftables_tables(_: Path) -> str:
    """The library and the kernel's nf_tables at once. Not asked of others than root: libnftables would print that."""
    if os.geteuid() != 0:
        raise PermissionError(errno.EPERM, "only root may look")
    nftables.run("list tables")
    return ""


def apparmor_on(_: Path) -> str:
    """Raises OSError (ENOENT), MissingParser."""
    if not apparmor.is_available():
        raise OSError(errno.ENOENT, "not switched on in this kernel")
    if not any(Path(parser).exists() for parser in apparmor.PARSERS):
        raise apparmor.MissingParser
    return ""


def raising_limits(_: Path) -> str:
    """Raises OSError (EPERM) without CAP_SYS_RESOURCE."""
    if not rlimits.can_raise():
        raise OSError(errno.EPERM, f"no CAP_SYS_RESOURCE: at most {rlimits.read_limit('nofile').hard} open files")
    return ""


def project_quota(root: Path) -> str:
    """Raises OSError (EOPNOTSUPP) with the reason."""
    reason = quota.can_limit(root)
    if reason is not None:
        raise OSError(errno.EOPNOTSUPP, reason)
    return ""


clone3 = partial(call, CLONE3)
openat2 = partial(call, OPENAT2)
