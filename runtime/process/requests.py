"""What clients may ask a running container's monitor for: exec, attach, resize, rotate. All else needs no monitor."""

from __future__ import annotations

import os
import socket

from runtime.process import protocol
from runtime.process.bundle import check_process
from runtime.process.creation import reply
from runtime.process.exec_request import begin_exec
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.paths import is_paused
from runtime.process.supervision import Supervision


def serve(server: socket.socket, supervision: Supervision) -> None:
    """Answer requests on `server` from now on."""
    supervision.loop.watch(server.fileno(), lambda: _on_connection(server, supervision))


def _on_connection(server: socket.socket, supervision: Supervision) -> None:
    connection, _ = server.accept()
    if protocol.peer_uid(connection) != 0:
        connection.close()
        return
    supervision.loop.watch(connection.fileno(), lambda: _on_request(connection, supervision))


def _on_request(connection: socket.socket, supervision: Supervision) -> None:
    supervision.loop.forget(connection.fileno())
    try:
        received = protocol.receive(connection)
    except (OSError, ValueError):
        received = None
    if received is None:
        connection.close()
        return
    message, descriptors = received
    try:
        _obey(connection, message, descriptors, supervision)
    except ProcessFailed as failure:
        reply(connection, {"failed": failure.to_message()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        wrong = ProcessFailed(f"not a request: {error}", step=str(message.get("verb")))
        reply(connection, {"failed": wrong.to_message()})
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _obey(
    connection: socket.socket, message: protocol.Message, descriptors: list[int], supervision: Supervision
) -> None:
    verb = message["verb"]
    if verb == "exec":
        if is_paused(supervision.what.facts().paths):
            raise NotRunning("cannot exec: it is paused", step="exec")
        check_process(message["process"])
        begin_exec(connection, message["process"], tuple(descriptors), supervision)
    elif verb == "attach":
        protocol.send(connection, {"attached": True, "terminal": supervision.input.is_terminal})
        supervision.input.add_client(connection, stdin=bool(message.get("stdin")))
    elif verb == "resize":
        supervision.input.resize(message["rows"], message["columns"])
        reply(connection, {"resized": True})
    elif verb == "rotate":
        supervision.output.log.rotate_at(int(message["max_size"]), int(message["max_file"]))
        reply(connection, {"rotates": True})
    else:
        raise NotRunning(f"cannot {verb}: it is running", step=verb)
