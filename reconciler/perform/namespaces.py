"""Namespaces of other containers that a container enters: found at the living process, whichever set it belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.desired import Desired
from reconciler.perform.context import Context
from reconciler.perform.placing import about
from reconciler.resolve.containers import joined
from runtime.process import client
from runtime.process.records import ProcessRecord
from schemas.container import ContainerSpec
from schemas.errors import Refused, RetryLater
from schemas.names import Key

FIELDS = {"network_mode": ("network", "net"), "pid": ("pid", "pid"), "ipc": ("ipc", "ipc")}
"""Field of the manifest -> type in the bundle, file in /proc/PID/ns."""


@dataclass(frozen=True, slots=True)
class Entered:
    """Namespace type -> path; and the first host id of the joined user namespace, None for the host's own."""

    paths: Mapping[str, Path] = field(default_factory=dict)
    id_base: int | None = None


def entered(context: Context, want: Desired, spec: ContainerSpec) -> Entered:
    """Namespaces to enter, with the user namespace that owns them: rights over them are rights in it.

    Raises RetryLater when a peer does not run, Refused when two peers have user namespaces of their own.
    """
    paths: dict[str, Path] = {}
    owners: dict[Path, int | None] = {}
    for name, (kind, file) in FIELDS.items():
        peer = joined(getattr(spec, name))
        if peer is None:
            continue
        with about("spec", name):
            process = _process(context, want, peer)
        paths[kind] = Path(f"/proc/{process.pid}/ns/{file}")
        user = Path(f"/proc/{process.pid}/ns/user")
        if not os.path.samestat(user.stat(), Path("/proc/self/ns/user").stat()):
            owners[user] = first_id(process.pid)
    if len({path.stat().st_ino for path in owners}) > 1:
        message = "joins containers with user namespaces of their own, and can enter only one"
        raise Refused(message, object=str(want.key), step="join namespaces", hint="join one container")
    for user, base in owners.items():
        return Entered({**paths, "user": user}, base)
    return Entered(paths)


def _process(context: Context, want: Desired, peer: Key) -> ProcessRecord:
    process = client.read_process(context.engine.layout, peer.name)
    if process is None or not process.phase.can_kill:
        raise RetryLater(f"{peer} does not run", object=str(want.key), step="join its namespaces")
    return process


def first_id(pid: int) -> int | None:
    """The host id of the process's uid 0 (user_namespaces(7)); None where it is the host's own."""
    words = Path(f"/proc/{pid}/uid_map").read_text().split()
    return int(words[1]) if words and words[1] != "0" else None
