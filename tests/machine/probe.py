"""Many probes on one engine: manifests from Python values, an engine for a whole module, looks from inside.

A module declares all its containers at once, applies them once, and asks each of them small questions.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from runtime.kernel.namespaces import CLONE_NEWNET, setns, unshare
from runtime.layout import Layout
from runtime.process import client
from runtime.process.failure import ProcessFailed
from runtime.process.logs import read_logs
from schemas.errors import Refused
from tests.conftest import remove_tree, unmount_below
from tests.machine.machine import Machine, until
from tests.network.world import Machine as Seat
from tests.network.world import World

FOREVER = ["sleep", "2147483647"]


@contextmanager
def own_host() -> Iterator[None]:
    """The calling thread in a network namespace of its own, that stands for the host."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)


@contextmanager
def own_machine(tree: Path, host: Callable[[], AbstractContextManager[None]] = own_host) -> Iterator[Machine]:
    """An engine of one module's own, on a host that `host` gives; afterwards nothing of it is left."""
    base = Path(tempfile.mkdtemp(prefix="tt-", dir="/tmp"))
    layout = Layout(root=base / "root", run=base / "run")
    layout.root.mkdir()
    layout.run.mkdir()
    try:
        with host():
            made = Machine(layout, tree)
            try:
                yield made
            finally:
                made.close()
    finally:
        unmount_below(base)
        remove_tree(base)


def document(kind: str, name: str, metadata: Mapping[str, Any] | None = None, /, **spec: Any) -> str:
    """One manifest as a YAML document; nothing in it is interpolated."""
    value = {
        "apiVersion": "trimtab/v1",
        "kind": kind,
        "metadata": {"name": name, **(metadata or {})},
        "spec": spec,
    }
    return f"---\n{json.dumps(value).replace('$', '$$')}\n"


def container(name: str, **spec: Any) -> str:
    """A Container that does nothing until it is stopped, unless `spec` says otherwise."""
    return document("Container", name, **{"image": "busybox", "init": True, **spec})


def says(machine: Machine, name: str, count: int = 1) -> list[str]:
    """The first `count` lines the container wrote, waited for."""
    directory = machine.layout.container_log(name)
    until(lambda: len(list(read_logs(directory))) >= count)
    return [line.text for line in read_logs(directory)]


def run(machine: Machine, name: str, *command: str, **process: Any) -> str:
    """What a command prints that runs as the container's own process does: its user, rights, limits, environment."""
    code, output = attempt(machine, name, *command, **process)
    assert code == 0, f"{command}: {code} {output}"
    return output


def attempt(machine: Machine, name: str, *command: str, **process: Any) -> tuple[int, str]:
    """The same, with its exit code; standard error is part of the output."""
    bundle = json.loads((machine.layout.container(name) / "config.json").read_text())
    wanted = {**bundle["process"], "args": list(command), **process}
    with tempfile.TemporaryFile() as output, Path(os.devnull).open("rb") as empty:
        try:
            code = client.exec_(machine.layout, name, wanted, empty.fileno(), output.fileno(), output.fileno())
        except ProcessFailed as error:
            return error.exit_code or 1, str(error)
        output.seek(0)
        return code, output.read().decode(errors="replace")


def status(machine: Machine, name: str, field: str) -> str:
    """A field of the process's /proc/PID/status (proc_pid_status(5)), as the host sees it."""
    pid = workload(machine, name)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))


def workload(machine: Machine, name: str) -> int:
    """The pid of the image's process: init's child where there is an init."""
    pid = machine.process(name).pid
    bundle = json.loads((machine.layout.container(name) / "config.json").read_text())
    if bundle["annotations"].get("trimtab/init") != "true":
        return pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def refusal(machine: Machine, text: str, set_name: str = "shop") -> str:
    """What an apply says that must not succeed: at once, or of the one action that failed. Takes away what it made."""
    try:
        outcomes = machine.apply(text, set_name)
    except Refused as error:
        return str(error)
    failed = [str(outcome.error) for outcome in outcomes if outcome.error is not None]
    assert failed, [outcome.action.describe() for outcome in outcomes]
    return "\n".join(failed)


def seat(world: World, machine: Machine, name: str) -> Seat:
    """The network namespace of a container as the world's: to listen and to ask from where the container is."""
    descriptor = os.open(f"/proc/{machine.process(name).pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    made = Seat(name, world.servers, namespace=descriptor)
    world.machines.append(made)
    return made
