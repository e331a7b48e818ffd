"""What the API works with: the engine's paths, the threads, the commands under way."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from reconciler.api.loading import Loaders
from reconciler.daemon.meters import Meters
from reconciler.daemon.worker import Worker
from reconciler.engine import Engine
from reconciler.loop.loop import Loop
from reconciler.sources.roster import Roster
from reconciler.store.changes import newest_version
from runtime.layout import Layout

if TYPE_CHECKING:
    from reconciler.api.exec_stream import Prepared
    from reconciler.api.visitor import Visitor


@dataclass(slots=True)
class Served:
    layout: Layout
    engine: Engine
    worker: Worker
    loop: Loop
    roster: Roster
    meters: Meters
    known: int = -1
    """The version of the newest change that was passed on."""
    loaders: Loaders = field(default_factory=Loaders)
    execs: dict[str, Prepared] = field(default_factory=dict)
    commands: dict[str, Visitor] = field(default_factory=dict)

    async def applied(self) -> None:
        """Something was applied here: what is wanted may be something else now."""
        version = await self.worker.do(newest_version, self.engine.database)
        if version != self.known:
            self.known = version
            self.loop.asked_changed()
            self.roster.refresh()

    def who(self, request: web.Request) -> str:
        """The client, for the log: `uid 0 pid 4711`, or the subject of its certificate and its address."""
        transport = request.transport
        if transport is None:
            return "gone"
        channel: Any = transport.get_extra_info("socket")
        if channel is not None and channel.family == socket.AF_UNIX:
            pid, uid, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return f"uid {uid} pid {pid}"
        certificate = transport.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
        return " ".join([*names, str(request.remote)])
