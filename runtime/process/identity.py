"""The last steps before a container's program runs: limits, labels, user, capabilities, seccomp, execve.

Shared by init and exec. Everything here happens inside the container's namespaces; the order is the kernel's:
see the comments. Nothing of the host is open any more but the standard streams and the channel for errors.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from runtime.kernel import prctl
from runtime.kernel.process import close_range
from runtime.process.executable import execute, home_of
from runtime.process.failure import ProcessFailed, step
from runtime.process.seccomp_filter import Filter

FIRST_FREE = 3
"""The first descriptor after the standard streams: preserved descriptors start here."""


def limit(pid: int, process: dict[str, Any]) -> None:
    """Give `pid` the resource limits and the out-of-memory score of an OCI `process`; needs the host's rights."""
    score = process.get("oomScoreAdj")
    if score is not None:
        with step("oom_score_adj", str(score)):
            prctl.set_oom_score_adj(pid, score)


def keep_only(channel: int, preserved: int) -> int:
    """Close every descriptor but the standard streams, `preserved` ones from 3 on, and the channel; its new number."""
    place = FIRST_FREE + preserved
    if channel != place:
        os.dup2(channel, place, inheritable=False)
    close_range(place + 1)
    return place


def become(process: dict[str, Any], seccomp: Filter | None) -> NoReturn:
    """Turn the caller into the program of an OCI `process`."""
    user = process.get("user") or {}
    environment = _environment(process)
    os.umask(user.get("umask", 0o022))
    entered = _enter_directory(process["cwd"])
    if process.get("noNewPrivileges"):
        prctl.set_no_new_privs()
    elif seccomp is not None:
        # without no-new-privileges only a process with CAP_SYS_ADMIN may install a filter
        seccomp.install()
    _set_user(user)
    if not entered:
        with step("cwd", process["cwd"]):
            os.chdir(process["cwd"])
    _check_inside(process["cwd"])
    environment.setdefault("HOME", home_of(user.get("uid", 0)))
    if process.get("noNewPrivileges") and seccomp is not None:
        seccomp.install()
    execute(process["args"], environment)


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
        os.setgroups(user.get("additionalGids") or [])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
