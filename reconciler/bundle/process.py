"""The `process` of a bundle (OCI runtime-spec, config.md): arguments, environment, capabilities, limits.

Manifest over image, as Compose says: an `entrypoint` given clears the image's command. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.bundle.user import User
from runtime.images.config import ImageConfig
from runtime.kernel.capabilities import DEFAULT, known
from schemas.container import ContainerSpec
from schemas.errors import Refused

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def process(
    spec: ContainerSpec, image: ImageConfig, environment: Mapping[str, str], user: User, hostname: str
) -> dict[str, Any]:
    """`environment` is the manifest's own, env_file included. Raises Refused when there is nothing to run."""
    made: dict[str, Any] = {
        "terminal": spec.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": arguments(spec, image),
        "env": _environment(spec, image, environment, user, hostname),
        "cwd": spec.working_dir or image.working_dir or "/",
        "capabilities": capability_sets(spec, user),
        "rlimits": [_rlimit(name, limit.soft, limit.hard) for name, limit in sorted(spec.ulimits.items())],
        "noNewPrivileges": bool(spec.security.no_new_privileges),
    }
    if spec.oom_score_adj is not None:
        made["oomScoreAdj"] = spec.oom_score_adj
    return made


def arguments(spec: ContainerSpec, image: ImageConfig) -> list[str]:
    """What to run: an `entrypoint` of the manifest also drops the image's `cmd`, as in Compose. Raises Refused for
    nothing."""
    if spec.entrypoint is not None:
        found = [*spec.entrypoint, *(spec.command or ())]
    else:
        found = [*image.entrypoint, *(spec.command if spec.command is not None else image.cmd)]
    if not found:
        message = "neither the manifest nor the image says what to run"
        raise Refused(message, step="find the command", hint="add spec.command", field=("spec", "command"))
    return found


def _environment(
    spec: ContainerSpec, image: ImageConfig, own: Mapping[str, str], user: User, hostname: str
) -> list[str]:
    merged = {"PATH": PATH, "HOSTNAME": hostname}
    if spec.tty:
        merged["TERM"] = "xterm"
    merged |= {name: value for name, _, value in (item.partition("=") for item in image.env)}
    merged |= own
    merged.setdefault("HOME", user.home)
    return [f"{name}={value}" for name, value in merged.items()]


def capabilities(spec: ContainerSpec) -> list[str]:
    """Docker's default set, changed by cap_add and cap_drop; `ALL` counts, drops are applied to what remains."""
    every = {name.removeprefix("CAP_") for name in known()}
    if spec.privileged:
        return sorted(f"CAP_{name}" for name in every)
    chosen = set() if "ALL" in spec.cap_drop else {name.removeprefix("CAP_") for name in DEFAULT}
    chosen |= every if "ALL" in spec.cap_add else set(spec.cap_add)
    chosen -= set(spec.cap_drop) - set(spec.cap_add) if "ALL" in spec.cap_drop else set(spec.cap_drop)
    return sorted(f"CAP_{name}" for name in chosen & every)


def capability_sets(spec: ContainerSpec, user: User) -> dict[str, list[str]]:
    """A process that is not root keeps only the bounding set, as with Docker; cap_add gives nothing ambient."""
    names = capabilities(spec)
    held = names if user.uid == 0 else []
    return {"bounding": names, "permitted": held, "effective": held, "inheritable": [], "ambient": []}


def _rlimit(name: str, soft: int, hard: int) -> dict[str, Any]:
    unlimited = 2**64 - 1
    return {
        "type": f"RLIMIT_{name.upper()}",
        "soft": unlimited if soft < 0 else soft,
        "hard": unlimited if hard < 0 else hard,
    }
