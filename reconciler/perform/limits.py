"""A container's limits on its living cgroup, and which field of the manifest a refusal of the kernel is about."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.desired import Desired
from reconciler.perform.absent import may_heal
from reconciler.perform.context import Context
from reconciler.perform.placing import written
from runtime.kernel import cgroup
from runtime.kernel.prctl import set_oom_score_adj
from runtime.process.failure import ProcessFailed
from schemas.errors import Refused, RetryLater
from schemas.field_path import Path, format_path

FIELDS = (
    (r"memory\.(memsw|swap\.)", "mem_limit and memswap_limit"),
    (r"memory\.(soft_limit|low)", "mem_reservation"),
    (r"memory\.swappiness", "mem_swappiness"),
    (r"memory", "mem_limit"),
    (r"cpu\.(shares|weight)", "cpu_shares"),
    (r"cpu\.cfs_period", "cpu_period"),
    (r"cpu\.(cfs_quota|max)", "cpus or cpu_quota"),
    (r"cpuset", "cpuset"),
    (r"pids", "pids_limit"),
    (r"blkio|io\.", "blkio_config"),
    (r"devices", "devices"),
)
"""File or controller of a cgroup -> fields of the manifest that end there."""

STEPS = {
    "id map": "userns_mode",
    "rlimits": "ulimits",
    "sysctl": "sysctls",
    "oom_score_adj": "oom_score_adj",
    "capabilities": "cap_add",
    "seccomp": "security_opt",
    "apparmor": "security_opt",
    "device": "devices",
    "cwd": "working_dir",
    "user": "user",
}
"""Step of making a container -> field of the manifest it is about."""

DEFAULT_SCORE = 0


@contextmanager
def told(want: Desired) -> Iterator[None]:
    """Map what stands in the way of a limit, or of a process, to Refused with the field it is about; to RetryLater what
    may heal."""
    try:
        yield
    except (cgroup.BadResources, cgroup.MissingController) as error:
        raise refusal(want, str(error), getattr(error, "errno", None)) from error
    except ProcessFailed as error:
        if error.step == "cgroup":
            file = f": {error.path}" if error.path.startswith("/sys/") else ""
            raise refusal(want, f"{error.message}{file}", error.errno) from error
        field = _field_of(want, error)
        family = RetryLater if may_heal(error) else Refused
        raise family(
            error.message,
            object=str(want.key),
            step=format_path(field) or error.step,
            path=error.path,
            errno=error.errno,
            hint=_remedy(error),
            field=field,
        ) from error


def _field_of(want: Desired, error: ProcessFailed) -> Path:
    """What of the manifest the step is about; nothing where that cannot be told."""
    spec = want.declared.spec if want.declared is not None else None
    if error.step == "exec":
        return written(want, "entrypoint", "command", "image")
    if error.step == "mount":
        return _mounted_by(spec, error.path)
    if error.step == "sysctl" and error.path in getattr(spec, "sysctls", {}):
        return "spec", "sysctls", error.path
    return ("spec", STEPS[error.step]) if error.step in STEPS else ()


def _mounted_by(spec: object, target: str) -> Path:
    """The entry that mounts something where mounting failed."""
    for field in ("volumes", "tmpfs"):
        for index, entry in enumerate(getattr(spec, field, ())):
            if entry.target == target:
                return "spec", field, index
    return ()


def _remedy(error: ProcessFailed) -> str:
    if error.step == "mount" and error.errno in (errno.ENOTDIR, errno.EINVAL):
        return "a file can only be mounted over a file, a directory over a directory"
    if error.step == "oom_score_adj":
        return "lowering it needs CAP_SYS_RESOURCE, which this machine does not give"
    if error.step == "sysctl" and error.errno == errno.ENOENT and error.path.startswith("net.core"):
        # older kernels keep net.core.* from networks that belong to a user namespace
        return "this kernel has it only for containers without users of their own: userns_mode: host, or leave it out"
    if error.step == "clone" and error.errno == errno.EPERM:
        # clone(2): CLONE_NEWUSER by a caller in a chroot
        return (
            "`trimtab system check` tells whether user namespaces can be made here; in a chroot the kernel makes none"
        )
    if error.step == "sysctl" and error.errno == errno.ENOENT:
        return "this kernel has no such setting in a container's namespaces"
    if error.step == "id map":
        return "keep the engine's directories (--root) on ext4, xfs or btrfs, or write userns_mode: host"
    return ""


def refusal(want: Desired, message: str, number: int | None) -> Refused:
    """Names the field of the manifest that the cgroup's file stands for. `number`: the errno."""
    # the names of files alone: a container may be called like a controller
    names = re.sub(r"\S*/", "", message)
    field = next((fields for pattern, fields in FIELDS if re.search(pattern, names)), "")
    hint = "see `trimtab system check` for what this machine can limit; leave it out, or write another value"
    step = f"spec.{field}" if field else "cgroup"
    path = ("spec", field.partition(" ")[0]) if field else ()
    return Refused(message, object=str(want.key), step=step, errno=number, hint=hint, field=path)


def ensure_limits(context: Context, want: Desired) -> None:
    """Exactly the wanted limits, while the container runs. Raises Refused, OSError."""
    path = context.engine.layout.cgroup(want.key.name)
    try:
        cgroup.ensure_limits(path, want.facts["limits"])
    except cgroup.MissingController:
        raise
    except OSError as error:
        raise refusal(want, f"{error.strerror}: {error.filename or path}", error.errno) from error


def ensure_oom_score(context: Context, want: Desired) -> None:
    """The wanted score, for every process of the container. Raises Refused where the machine forbids lowering it."""
    score = want.facts.get("oom_score_adj", DEFAULT_SCORE)
    for pid in cgroup.processes(context.engine.layout.cgroup(want.key.name)):
        try:
            set_oom_score_adj(pid, score)
        except ProcessLookupError:
            continue
        except FileNotFoundError:
            continue
        except OSError as error:
            hint = "lowering it needs CAP_SYS_RESOURCE, which this machine does not give"
            raise Refused(
                error.strerror or str(error),
                object=str(want.key),
                step="spec.oom_score_adj",
                field=("spec", "oom_score_adj"),
                errno=error.errno,
                hint=hint,
            ) from error
