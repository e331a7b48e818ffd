"""The last steps before a container's program runs: limits, labels, user, capabilities, seccomp, execve.

Shared by init and exec. Everything here happens inside the container's namespaces; the order is the kernel's:
see the comments. Nothing of the host is open any more but the standard streams and the channel for errors.
"""

from __future__ import annotations

import fcntl
import os
from typing import Any, NoReturn

from runtime.kernel import apparmor, capabilities, prctl, rlimits
from runtime.kernel.process import close_range
from runtime.process.executable import execute, find_executable, home_of
from runtime.process.failure import ProcessFailed, step
from runtime.process.seccomp_filter import Filter

IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}

FIRST_FREE = 3
"""The first descriptor after the standard streams: preserved descriptors start here."""


def limit(pid: int, process: dict[str, Any]) -> None:
    """Give `pid` the resource limits and the out-of-memory score of an OCI `process`; needs the host's rights."""
    with step("rlimits"):
        try:
            rlimits.apply(process.get("rlimits") or (), pid)
        except rlimits.UnknownLimit as error:
            raise ProcessFailed(str(error), step="rlimits") from error
    score = process.get("oomScoreAdj")
    if score is not None:
        with step("oom_score_adj", str(score)):
            prctl.set_oom_score_adj(pid, score)


def label(process: dict[str, Any]) -> None:
    """Let the next execve enter the AppArmor profile of an OCI `process`; while the host's /proc is still here."""
    profile = process.get("apparmorProfile")
    if profile and profile != apparmor.UNCONFINED:
        with step("apparmor", profile):
            apparmor.set_profile_at_exec(profile)


def keep_only(channel: int, preserved: tuple[int, ...] = ()) -> int:
    """Close every descriptor but the standard streams, `preserved` ones (3 and on), and the channel; its new number."""
    place = FIRST_FREE + len(preserved)
    above = max((channel, place, *preserved)) + 1
    # out of the way first: their places may be taken by one another
    kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for descriptor in (*preserved, channel)]
    for number, descriptor in enumerate(kept, FIRST_FREE):
        os.dup2(descriptor, number, inheritable=number < place)
    close_range(place + 1)
    return place


def become(process: dict[str, Any], seccomp: Filter | None) -> NoReturn:
    """Turn the caller into the program of an OCI `process`."""
    user = process.get("user") or {}
    environment = _environment(process)
    os.umask(user.get("umask", 0o022))
    _set_schedule(process)
    entered = _enter_directory(process["cwd"])
    seccomp_last = bool(process.get("noNewPrivileges"))
    if seccomp_last:
        prctl.set_no_new_privs()
    elif seccomp is not None:
        # without no-new-privileges only a process with CAP_SYS_ADMIN may install a filter
        seccomp.install()
    _set_user(user)
    _set_capabilities(process.get("capabilities") or {})
    if not entered:
        with step("cwd", process["cwd"]):
            os.chdir(process["cwd"])
    _check_inside(process["cwd"])
    environment.setdefault("HOME", home_of(user.get("uid", 0)))
    path = find_executable(process["args"][0], environment)
    if seccomp_last and seccomp is not None:
        seccomp.install()
    execute(path, process["args"], environment)


def _environment(process: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in process.get("env") or () if "=" in entry)


def _enter_directory(path: str) -> bool:
    """Change directory while still root of the container; False where only the user may."""
    with step("cwd", path):
        try:
            os.chdir(path)
        except PermissionError:
            return False
    return True


def _check_inside(path: str) -> None:
    # a directory outside the root has no name here: getcwd(2) then says "(unreachable)", glibc ENOENT
    try:
        os.getcwd()
    except OSError as error:
        raise ProcessFailed("leads outside the container", step="cwd", path=path, errno=error.errno) from error


def _set_user(user: dict[str, Any]) -> None:
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    with step("user", f"{uid}:{gid}"):
        prctl.prctl(prctl.PR_SET_KEEPCAPS, 1)
        os.setgroups(user.get("additionalGids") or [])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def _set_capabilities(sets: dict[str, list[str]]) -> None:
    names = ("bounding", "permitted", "inheritable", "effective", "ambient")
    with step("capabilities"):
        try:
            capabilities.apply(*(sets.get(name) or () for name in names))
        except capabilities.UnknownCapability as error:
            raise ProcessFailed(str(error), step="capabilities") from error


def _set_schedule(process: dict[str, Any]) -> None:
    priority = process.get("ioPriority")
    if priority:
        with step("ioPriority", priority["class"]):
            prctl.ioprio_set(IO_CLASSES[priority["class"]], priority.get("priority", 0))
    scheduler = process.get("scheduler")
    if scheduler:
        with step("scheduler", scheduler["policy"]):
            prctl.sched_setattr(
                POLICIES[scheduler["policy"]],
                sum(SCHEDULER_FLAGS[flag] for flag in scheduler.get("flags") or ()),
                scheduler.get("nice", 0),
                scheduler.get("priority", 0),
                (scheduler.get("runtime", 0), scheduler.get("deadline", 0), scheduler.get("period", 0)),
            )
