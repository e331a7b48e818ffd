"""Init: from the clone to the container's program, inside the new namespaces.

Cloned by its monitor, mostly before there is a container for it, it talks to whoever makes one over a socket. It is
told `birth` (its ids are mapped, and what it will be), `mounts` (with the root, the bind sources and the seccomp
filter), `cgroup` (with the ways into it) and at last `start`; with hooks also `hooked`. It says `console` (with the
terminal), `namespaces` (where hooks wait for it) and `created` when only execve is left to do. What fails is said as
`failed` and ends it; when execve succeeds the socket closes by itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import Any, NoReturn

from runtime.kernel import cgroup, loopback, namespaces, prctl, terminal
from runtime.process import devices, hooks, mounts, protocol, reaper, rootfs, stdio
from runtime.process.failure import ProcessFailed, step
from runtime.process.identity import become, keep_only, label
from runtime.process.namespace_plan import NamespacePlan, plan_namespaces
from runtime.process.rehearsal import rehearse
from runtime.process.seccomp_filter import Filter
from runtime.process.signals import reset_signals
from runtime.process.standby import forget_host_tree
from runtime.process.sysctl import write_sysctls

Spec = dict[str, Any]

PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}


@dataclass(frozen=True, slots=True)
class Birth:
    """What a waiting init is told first: what container it will be."""

    spec: Spec
    plan: NamespacePlan
    streams: stdio.Streams
    state: dict[str, Any]


def run_init(channel: socket.socket, shelter: int, *, new_network: bool) -> NoReturn:
    """The whole life of init before its program: wait for a container to become, become it, run.

    `shelter` is a mount to wait in, -1 to stay in the host's tree.
    """
    try:
        prctl.set_name("trimtab-init")
        prctl.set_dumpable(False)
        os.setsid()
        os.umask(0o022)
        if shelter >= 0:
            with step("mounts"):
                forget_host_tree(shelter)
        if new_network:
            loopback.bring_up_loopback()
        if shelter >= 0:
            rehearse(channel)
        _live(channel, _read_birth(*_expect(channel, "birth")))
    except BaseException as error:
        tell_failure(channel, error, "init")


def send_birth(channel: socket.socket, birth: Birth) -> None:
    """Tell an init whose ids are mapped what it will be."""
    streams, linux = birth.streams, birth.spec.get("linux") or {}
    # the profile is most of a specification, and comes compiled
    spec = {**birth.spec, "linux": {key: value for key, value in linux.items() if key != "seccomp"}}
    message = {"birth": spec, "state": birth.state, "piped": streams.inner[0] >= 0}
    inner = streams.inner if streams.inner[0] >= 0 else ()
    protocol.send(channel, message, (*inner, *streams.preserved))


def _read_birth(message: protocol.Message, descriptors: list[int]) -> Birth:
    spec: Spec = message["birth"]
    streams = stdio.Streams()
    if message["piped"]:
        streams.inner = (descriptors[0], descriptors[1], descriptors[2])
        descriptors = descriptors[3:]
    streams.preserved = tuple(descriptors)
    return Birth(spec, plan_namespaces(spec), streams, message["state"])


def tell_failure(channel: socket.socket, error: BaseException, step_name: str) -> NoReturn:
    """Say what failed and end, with the exit code it stands for."""
    unexpected = ProcessFailed(f"{type(error).__name__}: {error}", step=step_name)
    failure = error if isinstance(error, ProcessFailed) else unexpected
    failure.exit_code = failure.exit_code or 1
    with contextlib.suppress(OSError):
        protocol.send(channel, {"failed": failure.to_message()})
    os._exit(failure.exit_code)


def _live(channel: socket.socket, birth: Birth) -> NoReturn:
    spec, plan = birth.spec, birth.plan
    if plan.has("user"):
        become_root()
    _name_things(spec)
    root, seccomp = _build_root(channel, birth)
    slave = _open_console(channel, root, spec["process"])
    stdio.put_in_place(birth.streams.inner if slave < 0 else (slave, slave, slave))
    _wait_for_hooks(channel, birth)
    label(spec["process"])
    rootfs.enter_root(root)
    rootfs.finish_root(root, spec)
    protocol.send(channel, {"created": True})
    # while the client comes to say `start`: what is left to let go of, to close and to reset
    rootfs.leave_host_tree(root)
    reset_signals()
    channel = socket.socket(fileno=keep_only(channel.detach(), birth.streams.preserved))
    _expect(channel, "start")
    hooks.run_hooks(spec, "startContainer", {**birth.state, "status": "created", "pid": os.getpid()})
    _execute(channel, birth, seccomp)


def _expect(channel: socket.socket, word: str) -> tuple[protocol.Message, list[int]]:
    received = protocol.receive(channel)
    if received is None or word not in received[0]:
        # the monitor is gone or has given up: nobody is left to tell
        os._exit(1)
    return received


def become_root() -> None:
    """Be root of the user namespace just entered, and in no group of the host's."""
    with step("user namespace"):
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])


def _name_things(spec: Spec) -> None:
    with step("hostname"):
        if spec.get("hostname"):
            socket.sethostname(spec["hostname"])
        if spec.get("domainname"):
            prctl.setdomainname(spec["domainname"])
    persona = (spec.get("linux") or {}).get("personality")
    if persona:
        with step("personality", persona["domain"]):
            prctl.personality(PERSONALITIES[persona["domain"]])
    # ENOSYS, EPERM, EACCES: no keys in this kernel, or not for us. Then the namespace alone keeps keys apart
    with contextlib.suppress(OSError):
        prctl.join_session_keyring("_ses")


def _build_root(channel: socket.socket, birth: Birth) -> tuple[int, Filter | None]:
    """Everything below the new root: the descriptor of its mount; and the seccomp filter, which comes along."""
    spec = birth.spec
    # what needs nothing from the creator comes first: it is opening the root meanwhile
    works = mounts.prepare_mounts(spec)
    nodes = devices.prepare_devices(spec) if birth.plan.has("user") else {}
    null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    write_sysctls(spec)
    rootfs.detach_from_host(spec)
    message, descriptors = _expect(channel, "mounts")
    count = len(message["binds"])
    root, sources, program = descriptors[0], descriptors[1 : 1 + count], descriptors[1 + count :]
    rootfs.attach_root(root)

    def enter_cgroup() -> None:
        _, entries = _expect(channel, "cgroup")
        with step("cgroup"):
            cgroup.enter(tuple(entries))
        if birth.plan.makes("cgroup"):
            namespaces.unshare(namespaces.CLONE_NEWCGROUP)

    mounts.attach_mounts(root, works, dict(zip(message["binds"], sources, strict=True)), enter_cgroup)
    devices.attach_devices(root, spec, nodes)
    devices.make_links(root)
    rootfs.make_directory(root, spec["process"]["cwd"])
    rootfs.cover_paths(root, spec, null)
    mounts.seal_mounts(works)
    return root, Filter.from_descriptor(program[0], message["seccomp"]) if program else None


def _open_console(channel: socket.socket, root: int, process: dict[str, Any]) -> int:
    """The slave side of a new terminal, whose master goes to the monitor; -1 where none is wanted."""
    if not process.get("terminal"):
        return -1
    with step("console", "/dev/pts"):
        master, slave = stdio.open_terminal(root, process)
        devices.attach_console(root, slave)
    protocol.send(channel, {"console": True}, (master,))
    os.close(master)
    return slave


def _wait_for_hooks(channel: socket.socket, birth: Birth) -> None:
    spec = birth.spec
    if hooks.has_hooks(spec, "prestart", "createRuntime"):
        protocol.send(channel, {"namespaces": True})
        _expect(channel, "hooked")
    hooks.run_hooks(spec, "createContainer", {**birth.state, "status": "creating", "pid": os.getpid()})


def _execute(channel: socket.socket, birth: Birth, seccomp: Filter | None) -> NoReturn:
    process = birth.spec["process"]
    if (birth.spec.get("annotations") or {}).get(reaper.ANNOTATION) == "true":
        child = os.fork()
        if child:
            channel.close()
            reaper.reap(child)
        os.setsid()
    try:
        if process.get("terminal"):
            terminal.make_controlling(0)
        become(process, seccomp)
    except BaseException as error:
        tell_failure(channel, error, "exec")
