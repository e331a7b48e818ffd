"""The hooks of a specification: programs of whoever made the bundle, told the container's state on standard input.

Runtime-spec "POSIX-platform Hooks". `prestart`, `createRuntime`, `poststart` and `poststop` run in the monitor, in the
host's namespaces; `createContainer` and `startContainer` run in init, in the container's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from typing import Any

from runtime.kernel.process import close_range
from runtime.process.failure import ProcessFailed, step
from runtime.process.signals import reset_signals

OCI_VERSION = "1.3.0"


def has_hooks(spec: dict[str, Any], *kinds: str) -> bool:
    """Whether a specification has hooks of any of these kinds."""
    hooks = spec.get("hooks") or {}
    return any(hooks.get(kind) for kind in kinds)


def run_hooks(spec: dict[str, Any], kind: str, state: dict[str, Any]) -> None:
    """Run the hooks of a kind in order; the first that fails, or outlives its timeout, raises ProcessFailed."""
    text = json.dumps(state).encode()
    for hook in (spec.get("hooks") or {}).get(kind) or ():
        _run(hook, kind, text)


def run_all_hooks(spec: dict[str, Any], kind: str, state: dict[str, Any]) -> list[ProcessFailed]:
    """The same for kinds whose failures change nothing: every hook runs, the failures are returned."""
    text = json.dumps(state).encode()
    failures = []
    for hook in (spec.get("hooks") or {}).get(kind) or ():
        try:
            _run(hook, kind, text)
        except ProcessFailed as failure:
            failures.append(failure)
    return failures


def oci_state(name: str, status: str, pid: int, bundle: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A container's state as runtime-spec "State" shapes it."""
    state = {"ociVersion": OCI_VERSION, "id": name, "status": status, "pid": pid, "bundle": bundle}
    if status == "stopped":
        del state["pid"]
    if spec.get("annotations"):
        state["annotations"] = spec["annotations"]
    return state


def _run(hook: dict[str, Any], kind: str, text: bytes) -> None:
    path = hook["path"]
    arguments = hook.get("args") or [path]
    environment = dict(entry.split("=", 1) for entry in hook.get("env") or () if "=" in entry)
    with step(f"{kind} hook", path):
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _become_hook(path, arguments, environment, reader)
        os.close(reader)
        _feed(writer, text)
        status = _wait(pid, hook.get("timeout"))
    if status is None:
        raise ProcessFailed(f"still running after {hook['timeout']} s", step=f"{kind} hook", path=path)
    if status != 0:
        raise ProcessFailed(f"ended with {_ending(status)}", step=f"{kind} hook", path=path)


def _become_hook(path: str, arguments: list[str], environment: dict[str, str], stdin: int) -> None:
    try:
        os.setsid()
        os.dup2(stdin, 0, inheritable=True)
        null = os.open("/dev/null", os.O_WRONLY)
        os.dup2(null, 1, inheritable=True)
        os.dup2(null, 2, inheritable=True)
        close_range(3)
        reset_signals()
        os.execve(path, arguments, environment)
    finally:
        os._exit(127)


def _feed(writer: int, text: bytes) -> None:
    # a hook need not read its state; the pipe holds it, so writing never waits
    with contextlib.suppress(BrokenPipeError, BlockingIOError):
        os.set_blocking(writer, False)
        os.write(writer, text)
    os.close(writer)


def _wait(pid: int, timeout: float | None) -> int | None:
    """The hook's exit status; None where it had to be killed."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        ended = poll.poll(None if timeout is None else timeout * 1000)
        if not ended:
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) if ended else None
    finally:
        os.close(descriptor)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
