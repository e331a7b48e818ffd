"""The client's half of exec: its descriptors into the container, the exit code back.

A pipe is handed over as it is. Anything else (a file, a socket, a terminal) stays here and is copied to and from a
pipe, so that a container never holds a descriptor of the host's that it could open again in another way. With a
terminal, the master of one made inside the container comes here, and is copied likewise.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import Any

from runtime.kernel import terminal
from runtime.process.asking import answered, open_monitor, talk
from runtime.process.copying import Copier, pass_size, raw_terminal
from runtime.process.paths import ContainerPaths
from runtime.process.protocol import receive


def run(paths: ContainerPaths, process: dict[str, Any], descriptors: tuple[int, int, int]) -> int:
    """Run `process` in the container of `paths` on the caller's streams; its exit code."""
    with open_monitor(paths, "exec") as channel:
        if process.get("terminal"):
            return _run_on_terminal(channel, paths.name, process, descriptors)
        return _run_on_pipes(channel, paths.name, process, descriptors)


def _run_on_pipes(channel: socket.socket, name: str, process: dict[str, Any], descriptors: tuple[int, int, int]) -> int:
    copier = Copier()
    try:
        given = [_hand_over(number, descriptor, copier) for number, descriptor in enumerate(descriptors)]
        try:
            talk(channel, name, {"verb": "exec", "process": process}, tuple(given))
        finally:
            for descriptor in set(given) - set(descriptors):
                os.close(descriptor)
        copier.run_until(channel.fileno())
        code = _exit_code(channel, name)
        copier.finish()
        return code
    finally:
        copier.close()


def _hand_over(number: int, descriptor: int, copier: Copier) -> int:
    """What the container gets for one of the caller's streams."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return descriptor
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if number == 0:
        copier.add(descriptor, writer, owns_target=True)
        return reader
    copier.add(reader, descriptor, owns_source=True)
    return writer


def _run_on_terminal(
    channel: socket.socket, name: str, process: dict[str, Any], descriptors: tuple[int, int, int]
) -> int:
    if os.isatty(descriptors[0]):
        rows, columns = terminal.read_size(descriptors[0])
        process = {**process, "consoleSize": {"height": rows, "width": columns}}
    _, received = talk(channel, name, {"verb": "exec", "process": process})
    master = received[0]
    answered(receive(channel), name, "exec")
    copier = Copier()
    try:
        copier.add(descriptors[0], os.dup(master), owns_target=True)
        copier.add(master, descriptors[1], owns_source=True)
        with raw_terminal(descriptors[0], lambda rows, columns: pass_size(master, rows, columns)):
            copier.run_until(channel.fileno())
            code = _exit_code(channel, name)
            copier.finish()
            return code
    finally:
        copier.close()


def _exit_code(channel: socket.socket, name: str) -> int:
    message, _ = answered(receive(channel), name, "exec")
    return int(message["exit_code"])
