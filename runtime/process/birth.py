"""The creator's half of making a container: cgroup, clone, maps, root and bind sources, in the order they need.

`bear` returns once init has all it needs to build its root; what init then says comes through its channel.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from runtime.kernel import cgroup, namespaces
from runtime.kernel.process import start_time, wait_end
from runtime.process import protocol, sources
from runtime.process.bundle import Spec
from runtime.process.cloning import clone_init
from runtime.process.failure import ProcessFailed, step
from runtime.process.identity import limit
from runtime.process.init import Birth, run_init
from runtime.process.paths import ContainerPaths


@dataclass(frozen=True, slots=True)
class Init:
    """A container's init as its creator holds it."""

    pid: int
    pidfd: int
    start_time: int
    channel: socket.socket
    joiner: int


def bear(birth: Birth, paths: ContainerPaths) -> Init:
    """Make init in its cgroup and namespaces, as a child of our own parent.

    On failure nothing of it is left but the cgroup.
    """
    _make_cgroup(birth.spec, paths)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _ways_in(paths) as (directory, entries):
        cloned = clone_init(birth.plan, birth.spec, directory)
        if cloned.pid == 0:
            ours.close()
            run_init(theirs, birth, entries)
    theirs.close()
    birth.streams.close_inner()
    init = Init(cloned.pid, cloned.pidfd, start_time(cloned.pid) or 0, ours, cloned.joiner)
    try:
        _equip(init, birth, paths)
    except (ConnectionResetError, BrokenPipeError):
        failure = last_words(init)
        end(init)
        raise failure from None
    except BaseException:
        end(init)
        raise
    return init


def last_words(init: Init) -> ProcessFailed:
    """What an init that has hung up said before."""
    with suppress(OSError):
        while received := protocol.receive(init.channel):
            if "failed" in received[0]:
                return ProcessFailed.from_message(received[0]["failed"])
    return ProcessFailed("init ended while it was being made", step="init")


@contextmanager
def _ways_in(paths: ContainerPaths) -> Iterator[tuple[int | None, tuple[int, ...]]]:
    """The v2 directory to be born in, or descriptors by which init enters v1's by itself."""
    directory: int | None = None
    entries: tuple[int, ...] = ()
    if cgroup.detect() is cgroup.Version.V2:
        directory = cgroup.open_directory(paths.cgroup)
    else:
        entries = cgroup.open_entries(paths.cgroup)
    try:
        yield directory, entries
    finally:
        for descriptor in entries if directory is None else (directory,):
            os.close(descriptor)


def end(init: Init) -> None:
    """Kill init and wait until it is gone; its parent reaps it."""
    init.channel.close()
    signal.pidfd_send_signal(init.pidfd, signal.SIGKILL)
    wait_end(init.pidfd, None)
    os.close(init.pidfd)


def _make_cgroup(spec: Spec, paths: ContainerPaths) -> None:
    with step("cgroup"):
        try:
            cgroup.create(paths.cgroup, (spec.get("linux") or {}).get("resources") or {})
        except cgroup.BadResources as error:
            raise ProcessFailed(str(error), step="cgroup", path=paths.cgroup) from error


def _equip(init: Init, birth: Birth, paths: ContainerPaths) -> None:
    spec = birth.spec
    # those of a joined namespace are written already; the spec tells them for what is mounted
    if birth.plan.makes("user"):
        _write_maps(init.pid, spec)
    protocol.send(init.channel, {"mapped": True})
    limit(init.pid, spec["process"])
    _give_mounts(init, spec, paths)


def _write_maps(pid: int, spec: Spec) -> None:
    for which, file in (("uidMappings", "uid_map"), ("gidMappings", "gid_map")):
        ranges = sources.id_ranges(spec, which)
        if ranges:
            with step("user namespace", file):
                namespaces.write_map(pid, file, ranges)


def _give_mounts(init: Init, spec: Spec, paths: ContainerPaths) -> None:
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
