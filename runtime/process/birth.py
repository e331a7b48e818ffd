"""The monitor's half of making a container: cgroup, clone, maps, root and bind sources, in the order they need.

`bear` returns once init has all it needs to build its root; what init then says comes through its channel.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from runtime.kernel import cgroup, namespaces, prctl
from runtime.kernel.process import start_time
from runtime.process import protocol, sources
from runtime.process.failure import step
from runtime.process.init import run_init
from runtime.process.namespace_plan import NamespacePlan, plan_namespaces
from runtime.process.paths import ContainerPaths
from runtime.process.stdio import Streams


@dataclass(frozen=True, slots=True)
class Init:
    """A container's init as its monitor holds it."""

    pid: int
    pidfd: int
    start_time: int
    channel: socket.socket


def bear(spec: dict[str, Any], paths: ContainerPaths, streams: Streams) -> Init:
    """Make init in its cgroup and namespaces. On failure nothing of it is left but the cgroup."""
    plan = plan_namespaces(spec)
    with step("cgroup", paths.cgroup):
        cgroup.create(paths.cgroup, (spec.get("linux") or {}).get("resources") or {})
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with step("clone"):
        pid, pidfd = namespaces.clone3(plan.flags)
    if pid == 0:
        ours.close()
        run_init(theirs, spec, plan, streams)
    theirs.close()
    streams.close_inner()
    init = Init(pid, pidfd, start_time(pid) or 0, ours)
    try:
        _equip(init, spec, paths, plan)
    except BaseException:
        end(init)
        raise
    return init


def end(init: Init) -> None:
    """Kill init and reap it."""
    import signal

    init.channel.close()
    signal.pidfd_send_signal(init.pidfd, signal.SIGKILL)
    os.waitid(os.P_PIDFD, init.pidfd, os.WEXITED)
    os.close(init.pidfd)


def _equip(init: Init, spec: dict[str, Any], paths: ContainerPaths, plan: NamespacePlan) -> None:
    _write_maps(init.pid, spec)
    protocol.send(init.channel, {"mapped": True})
    score = spec["process"].get("oomScoreAdj")
    if score is not None:
        with step("oom_score_adj"):
            prctl.set_oom_score_adj(init.pid, score)
    with step("cgroup", paths.cgroup):
        cgroup.add(paths.cgroup, init.pid)
    _give_mounts(init, spec, paths)


def _write_maps(pid: int, spec: dict[str, Any]) -> None:
    for which, file in (("uidMappings", "uid_map"), ("gidMappings", "gid_map")):
        ranges = sources.id_ranges(spec, which)
        if ranges:
            with step("user namespace", file):
                namespaces.write_map(pid, file, ranges)


def _give_mounts(init: Init, spec: dict[str, Any], paths: ContainerPaths) -> None:
    mapped = bool(sources.id_ranges(spec, "uidMappings"))
    user_namespace = namespaces.open_namespace(init.pid, "user") if mapped else None
    opened: list[int] = []
    try:
        opened.append(sources.open_root(spec, paths.bundle, user_namespace))
        binds = sources.open_binds(spec, paths.bundle, user_namespace)
        opened.extend(binds.values())
        protocol.send(init.channel, {"mounts": True, "binds": list(binds)}, tuple(opened))
    finally:
        for descriptor in opened:
            os.close(descriptor)
        if user_namespace is not None:
            os.close(user_namespace)
