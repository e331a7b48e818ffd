"""The client's half of a monitor's socket: one question, one answer."""

from __future__ import annotations

import socket

from runtime.process import protocol
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.paths import ContainerPaths


def open_monitor(paths: ContainerPaths, verb: str) -> socket.socket:
    """A connection to a container's monitor. Raises NotRunning where there is none."""
    try:
        return protocol.connect(paths.socket)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotRunning(f"{paths.name} has no monitor", step=verb) from None


def ask_monitor(paths: ContainerPaths, message: protocol.Message, timeout: float | None = None) -> protocol.Message:
    """A monitor's answer. Raises NotRunning where it is gone, TimeoutError after `timeout` seconds."""
    with open_monitor(paths, message["verb"]) as channel:
        channel.settimeout(timeout)
        return talk(channel, paths.name, message)[0]


def talk(
    channel: socket.socket, name: str, message: protocol.Message, descriptors: tuple[int, ...] = ()
) -> tuple[protocol.Message, list[int]]:
    """Send a request on an open connection and receive its first answer."""
    try:
        protocol.send(channel, message, descriptors)
        received = protocol.receive(channel)
    except (ConnectionResetError, BrokenPipeError):
        received = None
    return answered(received, name, message["verb"])


def answered(
    received: tuple[protocol.Message, list[int]] | None, name: str, verb: str
) -> tuple[protocol.Message, list[int]]:
    """An answer as it came, or the failure it tells of, raised."""
    if received is None:
        raise NotRunning(f"the monitor of {name} ended meanwhile", step=verb)
    if "failed" in received[0]:
        raise ProcessFailed.from_message(received[0]["failed"])
    return received
