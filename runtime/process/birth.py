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
from runtime.process.init import Birth, run_init, send_birth
from runtime.process.paths import ContainerPaths
from runtime.process.seccomp_filter import read_filter
from runtime.process.standby import Standby


@dataclass(frozen=True, slots=True)
class Init:
    """A container's init as its creator holds it."""

    pid: int
    pidfd: int
    start_time: int
    channel: socket.socket
    joiner: int


def bear(birth: Birth, paths: ContainerPaths, config: int, standby: Standby | None) -> Init:
    """Make init in its cgroup and namespaces, as a child of our own parent; from `standby` where that one fits.

    `config` is a descriptor of the specification. On failure nothing of init is left but the cgroup.
    """
    if standby is not None and Standby.fits(birth.plan):
        init = Init(standby.pid, standby.pidfd, start_time(standby.pid) or 0, standby.channel, -1)
    else:
        init = _clone(birth, paths, standby)
        standby = None
    try:
        _equip(init, birth, paths, config, waiting=standby is not None)
    except (ConnectionResetError, BrokenPipeError):
        failure = last_words(init)
        end(init)
        raise failure from None
    except BaseException:
        end(init)
        raise
    birth.streams.close_inner()
    return init


def _clone(birth: Birth, paths: ContainerPaths, unused: Standby | None) -> Init:
    _make_cgroup(birth.spec, paths)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _birthplace(paths) as directory:
        cloned = clone_init(birth.plan, birth.spec, directory)
    if cloned.pid == 0:
        ours.close()
        run_init(theirs, birth)
    theirs.close()
    joiner = cloned.joiner
    if unused is not None:
        # it ends by itself, and its parent reaps it
        unused.channel.close()
    return Init(cloned.pid, cloned.pidfd, start_time(cloned.pid) or 0, ours, joiner)


def last_words(init: Init) -> ProcessFailed:
    """What an init that has hung up said before."""
    with suppress(OSError):
        while received := protocol.receive(init.channel):
            if "failed" in received[0]:
                return ProcessFailed.from_message(received[0]["failed"])
    return ProcessFailed("init ended while it was being made", step="init")


@contextmanager
def _birthplace(paths: ContainerPaths) -> Iterator[int | None]:
    """The v2 directory to be born in; None where init enters its cgroups by itself."""
    if cgroup.detect() is not cgroup.Version.V2:
        yield None
        return
    directory = cgroup.open_directory(paths.cgroup)
    try:
        yield directory
    finally:
        os.close(directory)


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


def _equip(init: Init, birth: Birth, paths: ContainerPaths, config: int, *, waiting: bool) -> None:
    spec = birth.spec
    # those of a joined namespace are written already; the spec tells them for what is mounted
    if birth.plan.makes("user"):
        _write_maps(init.pid, spec)
    if waiting:
        send_birth(init.channel, birth, config)
        _make_cgroup(spec, paths)
    else:
        protocol.send(init.channel, {"mapped": True})
    limit(init.pid, spec["process"])
    entries = () if cgroup.detect() is cgroup.Version.V2 else cgroup.open_entries(paths.cgroup)
    _give_mounts(init, spec, paths, entries)


def _write_maps(pid: int, spec: Spec) -> None:
    for which, file in (("uidMappings", "uid_map"), ("gidMappings", "gid_map")):
        ranges = sources.id_ranges(spec, which)
        if ranges:
            with step("user namespace", file):
                namespaces.write_map(pid, file, ranges)


def _give_mounts(init: Init, spec: Spec, paths: ContainerPaths, entries: tuple[int, ...]) -> None:
    mapped = bool(sources.id_ranges(spec, "uidMappings"))
    user_namespace = namespaces.open_namespace(init.pid, "user") if mapped else None
    root = sources.open_root(spec, paths.bundle, user_namespace)
    binds = sources.open_binds(spec, paths.bundle, user_namespace)
    seccomp = read_filter(spec, paths.seccomp)
    message = {"mounts": True, "binds": list(binds), "seccomp": seccomp.to_message() if seccomp else None}
    protocol.send(init.channel, message, (root, *binds.values(), *entries))
    # nothing is closed here: the creator ends soon, and the last close of a detached mount waits for all processors
