"""The command face's `create` and `run`: the creator's work in this process's own children.

Our child makes the container, and init as its sibling: a child of ours, inherited by our caller when we end. That child
goes on until the container is started; its own child is the monitor, which knows init by its pidfd alone.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import socket
import sys

from runtime.kernel import namespaces, prctl
from runtime.kernel.process import close_all_but
from runtime.process import lifecycle, monitor, oci_terminal, protocol
from runtime.process.bundle import open_bundle
from runtime.process.creation import reply
from runtime.process.creator import Request, see_through
from runtime.process.failure import ProcessFailed, step
from runtime.process.oci_paths import new_paths
from runtime.process.pair import Pair
from runtime.process.paths import ContainerPaths
from runtime.process.zygote import run_and_end

FIRST_HIGH = 64
"""Streams given to the container are kept from here on while our own are put away."""


def create(options: argparse.Namespace) -> int:
    """`create`: returns once init waits for `start`."""
    _make(options, options.console_socket)
    return 0


def run(options: argparse.Namespace) -> int:
    """`run`: the container's exit code, or 0 at once with `--detach`."""
    if options.detach:
        paths, _ = _make(options, options.console_socket)
        lifecycle.start(paths)
        return 0
    with oci_terminal.Console() as console:
        paths, pid = _make(options, options.console_socket or console.descriptor)
        try:
            lifecycle.start(paths)
            code = console.wait_for(pid)
        except ProcessFailed:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            lifecycle.delete(paths, force=True)
            raise
    if not options.keep:
        lifecycle.delete(paths, force=True)
    return code


def _make(options: argparse.Namespace, console: str | int) -> tuple[ContainerPaths, int]:
    spec, config = open_bundle(os.path.abspath(options.bundle))
    os.close(config)
    wants_terminal = bool(spec["process"].get("terminal"))
    if wants_terminal and not console:
        raise ProcessFailed("process.terminal needs --console-socket", step="create")
    paths = new_paths(options.root, options.id, options.bundle, spec)
    message = {"verb": "create", **paths.to_message()}
    if wants_terminal:
        message["console"] = console
    given = () if wants_terminal else (0, 1, 2, *range(3, 3 + options.preserve_fds))
    pid = make_here(message, given, console if isinstance(console, int) and wants_terminal else -1)
    if options.pid_file:
        write_pid(options.pid_file, pid)
    return paths, pid


def write_pid(path: str, pid: int) -> None:
    """A pid file, complete as soon as it is there."""
    with step("pid file", path):
        temporary = f"{path}.tmp"
        with open(temporary, "w") as file:
            file.write(str(pid))
        os.rename(temporary, path)


def make_here(message: protocol.Message, given: tuple[int, ...], console: int) -> int:
    """Make a container from this process; the pid of its init, which is a child of ours."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        ours.close()
        run_and_end(lambda: _be_creator(theirs, message, given, console))
    theirs.close()
    with ours:
        received = protocol.receive(ours)
    if received is None:
        raise ProcessFailed("the creating process ended without a word", step="create")
    if "failed" in received[0]:
        raise ProcessFailed.from_message(received[0]["failed"])
    return int(received[0]["pid"])


def _be_creator(answer: socket.socket, message: protocol.Message, given: tuple[int, ...], console: int) -> None:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    connection = socket.socket(fileno=_lift(answer.detach()))
    kept = tuple(_lift(descriptor) for descriptor in given)
    wanted = _lift(console) if console >= 0 else message.get("console")
    _put_streams_away()
    pair = _fork_monitor()
    os.chdir("/")
    try:
        paths = ContainerPaths.from_message(message)
        spec, config = open_bundle(paths.bundle)
    except ProcessFailed as failure:
        reply(connection, {"failed": failure.to_message()})
        return
    see_through(Request(connection, paths, spec, config, pair, kept, console=wanted))


def _lift(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_HIGH)


def _fork_monitor() -> Pair:
    """A monitor as a sibling of ours, and so its init: children of whoever called, whom they outlive."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid, pidfd = namespaces.clone3(namespaces.CLONE_PARENT)
    if pid == 0:
        close_all_but(theirs.fileno())
        ours.detach()
        prctl.set_name(monitor.NAME)
        run_and_end(lambda: monitor.run_monitor(theirs, namespaces.CLONE_PARENT))
    theirs.close()
    os.close(pidfd)
    return Pair(ours, pid)


def _put_streams_away() -> None:
    """Whoever waits for the end of our streams waits for the container's alone."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number, inheritable=True)
    os.close(null)
