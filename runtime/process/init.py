"""Init: from the clone to the container's program, inside the new namespaces.

Started by the monitor with clone3(2), it talks to it over one socket: `mapped` (ids are ours), `mounts` (with the root
and the bind sources), and at last `start`. It answers `created` when only execve is left to do. What fails is sent as
`failed` and ends it; when execve succeeds the socket closes by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any, NoReturn

from runtime.kernel import loopback, mount, namespaces, prctl
from runtime.process import devices, mounts, protocol, rootfs, stdio
from runtime.process.failure import ProcessFailed, step
from runtime.process.identity import become, keep_only
from runtime.process.namespace_plan import NamespacePlan
from runtime.process.sources import id_ranges


def run_init(channel: socket.socket, spec: dict[str, Any], plan: NamespacePlan, streams: stdio.Streams) -> NoReturn:
    """The whole life of init before its program. Never returns."""
    try:
        _live(channel, spec, plan, streams)
    except ProcessFailed as failure:
        _tell_failure(channel, failure)
    except BaseException as error:
        _tell_failure(channel, ProcessFailed(f"{type(error).__name__}: {error}", step="init"))
    os._exit(1)


def _tell_failure(channel: socket.socket, failure: ProcessFailed) -> NoReturn:
    with contextlib.suppress(OSError):
        protocol.send(channel, {"failed": failure.to_message()})
    os._exit(failure.exit_code or 1)


def _live(channel: socket.socket, spec: dict[str, Any], plan: NamespacePlan, streams: stdio.Streams) -> NoReturn:
    os.setsid()
    os.umask(0o022)
    _expect(channel, "mapped")
    if id_ranges(spec, "uidMappings"):
        _become_root()
    if plan.makes(namespaces.CLONE_NEWNET):
        with step("loopback"):
            loopback.bring_up_loopback()
    _name_host(spec)
    works = mounts.prepare_mounts(spec)
    trees = devices.prepare_devices(spec) if plan.makes(namespaces.CLONE_NEWUSER) else {}
    null = mount.open_tree(mount.AT_FDCWD, "/dev/null")
    message, descriptors = _expect(channel, "mounts")
    if plan.cgroup:
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)
    root = descriptors[0]
    binds = dict(zip(message["binds"], descriptors[1:], strict=True))
    _build_root(root, spec, works, binds, trees, null)
    _join_keyring(spec)
    if spec["process"].get("terminal"):
        _open_console(channel, root, spec["process"])
    else:
        stdio.put_in_place(streams.inner)
    rootfs.enter_root(root)
    rootfs.finish_root(root, spec)
    protocol.send(channel, {"created": True})
    _expect(channel, "start")
    _reset_signals()
    preserved = len(streams.given)
    place = keep_only(channel.detach(), preserved)
    channel = socket.socket(fileno=place)
    try:
        become(spec["process"], None)
    except ProcessFailed as failure:
        _tell_failure(channel, failure)


def _expect(channel: socket.socket, word: str) -> tuple[protocol.Message, list[int]]:
    received = protocol.receive(channel)
    if received is None or word not in received[0]:
        # the monitor is gone or gave up: nobody is left to tell
        os._exit(1)
    return received


def _become_root() -> None:
    with step("user namespace"):
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])


def _name_host(spec: dict[str, Any]) -> None:
    with step("hostname"):
        if spec.get("hostname"):
            socket.sethostname(spec["hostname"])
        if spec.get("domainname"):
            prctl.setdomainname(spec["domainname"])


def _build_root(
    root: int,
    spec: dict[str, Any],
    works: list[mounts.MountWork],
    binds: dict[int, int],
    trees: dict[str, int],
    null: int,
) -> None:
    rootfs.detach_from_host(spec)
    rootfs.attach_root(root)
    mounts.attach_mounts(root, works, binds)
    devices.attach_devices(root, spec, trees)
    devices.make_links(root)
    rootfs.cover_paths(root, spec, null)
    mounts.seal_mounts(works)


def _open_console(channel: socket.socket, root: int, process: dict[str, Any]) -> None:
    size = process.get("consoleSize")
    with step("console"):
        master, slave = stdio.open_terminal(
            root, (process.get("user") or {}).get("uid", 0), (size["height"], size["width"]) if size else None
        )
        devices.attach_console(root, slave)
        stdio.take_terminal(slave)
    protocol.send(channel, {"console": True}, (master,))
    os.close(master)


def _join_keyring(spec: dict[str, Any]) -> None:
    # ENOSYS: a kernel without keys; EPERM, EACCES: forbidden by a filter around us. Isolation by namespace remains
    with contextlib.suppress(OSError):
        prctl.join_session_keyring("_ses")


def _reset_signals() -> None:
    for number in range(1, signal.NSIG):
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
