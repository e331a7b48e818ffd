"""AppArmor: whether it confines here, a default profile for containers, and the change to a profile at execve.

The profile is policy for the kernel's LSM beside seccomp and capabilities: it keeps a root of the host's (userns_mode:
host) from writing to /proc and /sys and from mounting. Compiling it needs apparmor_parser. Sources: apparmor(7),
apparmor_parser(8), aa_change_onexec(2), kernel document LSM/apparmor.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

DEFAULT_PROFILE = "trimtab-default"
ENABLED = Path("/sys/module/apparmor/parameters/enabled")
LOADED = Path("/sys/kernel/security/apparmor/profiles")
PARSERS = ("/sbin/apparmor_parser", "/usr/sbin/apparmor_parser")
UNCONFINED = "unconfined"

POLICY = """\
#include <tunables/global>

profile {name} flags=(attach_disconnected,mediate_deleted) {{
  network,
  capability,
  file,
  umount,
  # signals from the engine and between the container's own processes
  signal (receive) peer=unconfined,
  signal (send,receive) peer={name},
  ptrace (trace,read,tracedby,readby) peer={name},

  deny mount,
  deny pivot_root,

  # of /proc, a process may write about processes, and sysctls of its own namespaces
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9s],[^1-9s][^1-9],s[^eyh],[1-9][^0-9]}}*/** w,
  deny @{{PROC}}/sys/[^kn]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^sm][^eshm][^mgm]*}}** w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,
  deny @{{PROC}}/kmem rwklx,
  deny @{{PROC}}/mem rwklx,
  deny @{{PROC}}/timer_stats rwklx,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"""


class MissingParser(OSError):
    """AppArmor is on, and nothing here can compile a profile for it."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, "AppArmor is enabled but apparmor_parser is missing: install apparmor")


def is_available() -> bool:
    """Whether this kernel has AppArmor switched on."""
    try:
        return ENABLED.read_text().strip() == "Y" and LOADED.parent.is_dir()
    except OSError:
        return False


def loaded_profiles() -> dict[str, str]:
    """Mode (`enforce`, `complain`) by name. Needs root."""
    lines = LOADED.read_text().splitlines()
    return {line.rpartition(" (")[0]: line.rpartition(" (")[2].rstrip(")") for line in lines if line.endswith(")")}


def ensure_default_profile() -> str:
    """Its name, loaded and enforced now. Raises MissingParser, OSError with the parser's words."""
    if loaded_profiles().get(DEFAULT_PROFILE) != "enforce":
        _load(POLICY.format(name=DEFAULT_PROFILE))
        if loaded_profiles().get(DEFAULT_PROFILE) != "enforce":
            raise OSError(errno.EINVAL, f"the AppArmor profile {DEFAULT_PROFILE} was loaded but does not show up")
    return DEFAULT_PROFILE


def _load(policy: str) -> None:
    import subprocess  # needed once after a boot

    parser = next((path for path in PARSERS if os.access(path, os.X_OK)), None)
    if parser is None:
        raise MissingParser
    done = subprocess.run(
        [parser, "--replace", "--skip-cache"], input=policy, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(errno.EINVAL, f"apparmor_parser: {done.stderr.strip() or done.stdout.strip()}")


def set_profile_at_exec(name: str) -> None:
    """The calling thread's next execve(2) enters the profile. Raises FileNotFoundError for one that is not loaded."""
    content = f"exec {name}".encode()
    for path in ("/proc/thread-self/attr/apparmor/exec", "/proc/thread-self/attr/exec"):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            os.write(fd, content)
        except OSError as error:
            raise OSError(error.errno, f"cannot enter the AppArmor profile {name}: {error.strerror}") from error
        finally:
            os.close(fd)
        return
    raise OSError(errno.ENOSYS, "this kernel has no AppArmor")
