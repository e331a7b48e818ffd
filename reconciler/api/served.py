"""What the API works with: the engine's paths, the threads, the commands under way."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from reconciler.api.feed import Feed
from reconciler.api.loading import Loaders
from reconciler.api.outgoing import PATIENCE_SECONDS
from reconciler.api.problems import Gone
from reconciler.api.shares import Shares
from reconciler.caller import account_name
from reconciler.daemon.meters import Meters
from reconciler.daemon.worker import Worker
from reconciler.engine import Engine
from reconciler.loop.loop import Loop
from reconciler.sources.roster import Roster
from reconciler.store.changes import Change, newest_version, read_changes
from reconciler.store.database import Database
from reconciler.store.events import KEPT, Event, newest_event, read_events
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
    shares: Shares
    patience: float = PATIENCE_SECONDS
    """Seconds after which a client that takes nothing has left."""
    known: int = -1
    """The version of the newest change that was passed on."""
    loaders: Loaders = field(default_factory=Loaders)
    execs: dict[str, Prepared] = field(default_factory=dict)
    commands: dict[str, Visitor] = field(default_factory=dict)
    changes: Feed[Change] = field(init=False)
    events: Feed[Event] = field(init=False)

    def __post_init__(self) -> None:
        database = self.engine.database
        self.changes = Feed(self.worker, partial(newest_version, database), partial(kept_changes, database))
        self.events = Feed(
            self.worker, partial(newest_event, database), partial(read_events, database, None, last=KEPT)
        )

    async def applied(self) -> None:
        """Something was applied here: what is wanted may be something else now."""
        version = await self.worker.do(newest_version, self.engine.database)
        if version != self.known:
            self.known = version
            self.loop.asked_changed()
            self.roster.refresh()

    def person(self, request: web.Request) -> str:
        """The client, for history: an account of this machine, or the subject of its certificate and its address."""
        found = _peer(request)
        return account_name(found[1]) if found is not None else self.who(request)

    def who(self, request: web.Request) -> str:
        """The client, for the log: `uid 0 pid 4711`, or the subject of its certificate and its address."""
        transport = request.transport
        if transport is None:
            return "gone"
        if (found := _peer(request)) is not None:
            return f"uid {found[1]} pid {found[0]}"
        certificate = transport.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
        return " ".join([*names, str(request.remote)])


def kept_changes(database: Database, after: int, most: int = 1000) -> list[Change]:
    """Raises Gone where some of them are no longer kept."""
    found = read_changes(database, after, most)
    if found is None:
        raise Gone(f"changes since {after} are no longer kept", step="watch", hint="list the objects again")
    return found


def _peer(request: web.Request) -> tuple[int, int] | None:
    """Process and account at the other end of a UNIX socket."""
    channel: Any = request.transport.get_extra_info("socket") if request.transport is not None else None
    if channel is None or channel.family != socket.AF_UNIX:
        return None
    pid, uid, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
