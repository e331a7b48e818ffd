"""Making one container: its streams, its sockets and its init, from a request to a `Creation` that sees it through.

Done in the launcher itself where nothing can make it wait, else in a process of its own (`launcher.py` decides, and
`oci_make.py` has no launcher). What fails is answered to the client at once, and everything made is taken away again.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from runtime.kernel.process import is_alive
from runtime.process import handover, hooks, protocol
from runtime.process.birth import bear
from runtime.process.bundle import Spec
from runtime.process.creation import Creation, Made, reply
from runtime.process.failure import NotRunning, ProcessFailed, step
from runtime.process.init import Birth
from runtime.process.log_write import lock_log, log_settings
from runtime.process.loop import Loop
from runtime.process.mount_options import options_of
from runtime.process.namespace_plan import plan_namespaces
from runtime.process.pair import Pair
from runtime.process.paths import ContainerPaths, open_lock, undo
from runtime.process.records import read_state
from runtime.process.sources import host_id
from runtime.process.stdio import Streams, make_pipes

STDIN_ANNOTATION = "trimtab/stdin_open"


@dataclass(frozen=True, slots=True)
class Request:
    """A container to make: who asked, for what, of which monitor and init, with which streams if any are given."""

    connection: socket.socket
    paths: ContainerPaths
    spec: Spec
    config: int
    pair: Pair
    given: tuple[int, ...] = ()
    early: bool = False
    console: str | int | None = None


def is_quick(spec: Spec, paths: ContainerPaths) -> bool:
    """Whether nothing in a specification can make its maker wait: no program of others, no file system of others."""
    if hooks.has_hooks(spec, "prestart", "createRuntime", "poststart"):
        return False
    binds = [entry for entry in spec.get("mounts") or () if options_of(entry).bind]
    return all(_is_at_hand(entry, paths) and not entry.get("uidMappings") for entry in binds)


def _is_at_hand(entry: dict[str, Any], paths: ContainerPaths) -> bool:
    """Whether a source lies where only the engine writes, or who wrote the specification has seen to it (`at_hand`)."""
    own = (os.path.dirname(os.path.dirname(paths.live)) + "/", paths.bundle + "/")
    return bool(entry.get("at_hand")) or entry.get("source", "").startswith(own)


def begin(request: Request, loop: Loop, on_end: Callable[[Creation], None]) -> Creation | None:
    """Make init, and leave the rest to a `Creation` in `loop`; None where it failed, and the client knows."""
    try:
        lock = _claim(request.paths)
    except ProcessFailed as failure:
        os.close(request.config)
        _refuse(request, failure)
        return None
    # only now: whoever takes the client's place, when it was killed, finds the lock held or nothing being made
    if protocol.has_left(request.connection):
        os.close(request.config)
        os.close(lock)
        _refuse(request, ProcessFailed("nobody waits for it any more", step="create"))
        return None
    with ExitStack() as undoing:
        undoing.callback(os.close, lock)
        try:
            made = _make(request, lock, undoing)
        except BaseException as error:
            # its init must be gone before its cgroup can
            request.pair.dismiss()
            undo(request.paths)
            _refuse(request, error)
            return None
        undoing.pop_all()
    creation = Creation(made, request.connection, on_end)
    if request.early:
        creation.answer_creator()
    creation.watch(loop)
    return creation


def see_through(request: Request) -> None:
    """The same by a process that has nothing else to do, to the end."""
    loop = Loop()
    creation = begin(request, loop, lambda _: None)
    while creation is not None and not creation.over:
        loop.run_once()


def _refuse(request: Request, error: BaseException) -> None:
    request.pair.dismiss()
    failure = error if isinstance(error, ProcessFailed) else ProcessFailed(repr(error), step="create")
    reply(request.connection, {"failed": failure.to_message()})


def _claim(paths: ContainerPaths) -> int:
    """Make the live directory and lock it for as long as the container has a monitor."""
    state = read_state(paths.live)
    if state is not None and is_alive(state.pid, state.start_time):
        raise NotRunning(f"{paths.name} exists already", step="create")
    with step("live directory", paths.live):
        os.makedirs(paths.live, mode=0o700, exist_ok=True)
        lock = open_lock(paths)
    if lock is None:
        raise NotRunning(f"{paths.name} exists already", step="create")
    return lock


def _make(request: Request, lock: int, undoing: ExitStack) -> Made:
    spec, paths = request.spec, request.paths
    undoing.callback(os.close, request.config)
    log = log_settings(spec)
    log_lock = lock_log(log) if log else -1
    if log:
        undoing.callback(os.close, log_lock)
    plan = plan_namespaces(spec)
    server = _listen(paths)
    undoing.callback(server.close)
    streams = _open_streams(spec, request.given)
    undoing.callback(streams.close)
    state = hooks.oci_state(paths.name, "creating", 0, paths.bundle, spec)
    init = bear(Birth(spec, plan, streams, state), paths, request.pair)
    descriptors = [(handover.BUNDLE, request.config), (handover.LOCK, lock), (handover.LOG_LOCK, log_lock)]
    return Made(paths, spec, init, streams, server, request.pair, log, request.console, descriptors)


def _listen(paths: ContainerPaths) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{paths.record}/exit.json")
    with step("socket", paths.socket):
        return protocol.listen(paths.socket)


def _open_streams(spec: Spec, given: tuple[int, ...]) -> Streams:
    if spec["process"].get("terminal"):
        return Streams()
    if given:
        return Streams((given[0], given[1], given[2]), preserved=given[3:])
    annotations: dict[str, Any] = spec.get("annotations") or {}
    user = spec["process"].get("user") or {}
    owner = (host_id(spec, "uidMappings", user.get("uid", 0)), host_id(spec, "gidMappings", user.get("gid", 0)))
    return make_pipes(owner, stdin=annotations.get(STDIN_ANNOTATION) == "true")
