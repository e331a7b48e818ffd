"""Outside of init while it is made: cgroup, maps, root, bind sources and filter, in the order they need.

`bear` returns once init has all it needs to build its root; what init then says comes through its channel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from runtime.kernel import cgroup, namespaces
from runtime.process import hooks, protocol, sources
from runtime.process.bundle import Spec
from runtime.process.cloning import Order
from runtime.process.failure import ProcessFailed, step
from runtime.process.identity import limit
from runtime.process.init import Birth, send_birth
from runtime.process.pair import Init, Pair
from runtime.process.paths import ContainerPaths
from runtime.process.seccomp_filter import read_filter


def bear(birth: Birth, paths: ContainerPaths, pair: Pair) -> Init:
    """Make a container's init of the pair's, or have one cloned; it has all it needs to build its root then.

    On failure nothing of init is left but the cgroup.
    """
    spec = birth.spec
    born_inside = cgroup.detect() is cgroup.Version.V2
    if born_inside:
        _make_cgroup(spec, paths)
    with _birthplace(paths) if born_inside else nullcontext(None) as directory:
        init = pair.take_init(_order(birth), directory)
    try:
        # those of a joined namespace are written already; the spec tells them for what is mounted
        if birth.plan.makes("user"):
            _write_maps(init.pid, spec)
        send_birth(init.channel, birth)
        _give_mounts(init, spec, paths)
        # while init builds its root
        if not born_inside:
            _make_cgroup(spec, paths)
        limit(init.pid, spec["process"])
        protocol.send(init.channel, {"cgroup": True}, () if born_inside else cgroup.open_entries(paths.cgroup))
    except (ConnectionResetError, BrokenPipeError):
        raise last_words(init) from None
    birth.streams.close_inner()
    return init


def _order(birth: Birth) -> Order:
    clocks = None
    if birth.plan.makes("time"):
        clocks = (birth.spec.get("linux") or {}).get("timeOffsets") or {}
    return Order(birth.plan.flags, birth.plan.joins, clocks, hooks.has_hooks(birth.spec, "createContainer"))


def last_words(init: Init) -> ProcessFailed:
    """What an init that has hung up said before."""
    with suppress(OSError):
        while received := protocol.receive(init.channel):
            if "failed" in received[0]:
                return ProcessFailed.from_message(received[0]["failed"])
    return ProcessFailed("init ended while it was being made", step="init")


@contextmanager
def _birthplace(paths: ContainerPaths) -> Iterator[int]:
    """The v2 directory to be born in."""
    directory = cgroup.open_directory(paths.cgroup)
    try:
        yield directory
    finally:
        os.close(directory)


def _make_cgroup(spec: Spec, paths: ContainerPaths) -> None:
    with step("cgroup"):
        try:
            cgroup.create(paths.cgroup, (spec.get("linux") or {}).get("resources") or {})
        except cgroup.BadResources as error:
            raise ProcessFailed(str(error), step="cgroup", path=paths.cgroup) from error


def _write_maps(pid: int, spec: Spec) -> None:
    for which, file in (("uidMappings", "uid_map"), ("gidMappings", "gid_map")):
        ranges = sources.id_ranges(spec, which)
        if ranges:
            with step("user namespace", file):
                namespaces.write_map(pid, file, ranges)


def _give_mounts(init: Init, spec: Spec, paths: ContainerPaths) -> None:
    mapped = bool(sources.id_ranges(spec, "uidMappings"))
    user_namespace = namespaces.open_namespace(init.pid, "user") if mapped else None
    root = sources.open_root(spec, paths.bundle, user_namespace)
    binds = sources.open_binds(spec, paths.bundle, user_namespace)
    seccomp = read_filter(spec, paths.seccomp)
    message = {"mounts": True, "binds": list(binds), "seccomp": seccomp.flags if seccomp else None}
    programs = (seccomp.to_descriptor(),) if seccomp else ()
    protocol.send(init.channel, message, (root, *binds.values(), *programs))
    # nothing is closed here: the last close of a detached mount waits for all processors. The caller ends, or sweeps
