"""The daemon's life: begin to listen, say so, keep the machine as declared, hear signals, leave.

Containers are nobody's children here: their launcher and monitors outlive this process, and are found again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, NoReturn

from reconciler.actions import Action
from reconciler.api.listening import listen
from reconciler.api.served import Served
from reconciler.api.shares import Shares, Use
from reconciler.api.streams import route_streams
from reconciler.apply import Outcome, Result
from reconciler.daemon import log, notify
from reconciler.daemon.meters import Meters
from reconciler.daemon.settings import Settings
from reconciler.daemon.single import only_daemon
from reconciler.daemon.tuning import tune
from reconciler.daemon.worker import VISITORS, Worker
from reconciler.engine import Engine, open_engine
from reconciler.freeing import Marks
from reconciler.lock import is_held_here
from reconciler.loop.loop import Loop, told
from reconciler.loop.settings import LoopSettings
from reconciler.loop.wanted import data_version
from reconciler.perform.freeing import free
from reconciler.sources.applying import apply_offer
from reconciler.sources.followed import Followed
from reconciler.sources.follower import Applied
from reconciler.sources.offer import Offer
from reconciler.sources.roster import Roster
from reconciler.sources.setting import read_source
from reconciler.sources.status import SourceStatus, State
from reconciler.steering import Steering
from runtime.layout import Layout
from schemas.errors import Refused, TrimtabError

STATUS = "keeping the machine as declared"
STORE_SECONDS = 0.5
OTHERS = 12
"""Threads beside those of clients, passes and health checks."""
FIXED = (
    "listen",
    "group",
    "tls_ca",
    "tls_certificate",
    "tls_key",
    "tls_revoked",
    "insecure_tcp",
    "probes",
    "followers",
    "debounce",
)
"""Settings that a reload leaves as they are."""
LOG = log.logger("daemon")
Reread = Callable[[], Settings]


def run_daemon(layout: Layout, settings: Settings, reread: Reread) -> NoReturn:
    """Until SIGTERM or SIGINT. Raises Refused where another daemon is at work, or what to listen on cannot be had."""
    log.set_up(settings.log, settings.log_level, log.real_stderr())
    with only_daemon(layout.daemon_lock), open_engine(layout) as engine:
        route_streams()
        tune()
        asyncio.run(Daemon(layout, engine, settings, reread).live())
    # threads that still follow something, or pull an image for somebody, must not keep the process
    os._exit(0)


class Daemon:
    """Made and run once."""

    def __init__(self, layout: Layout, engine: Engine, settings: Settings, reread: Reread) -> None:
        self._layout = layout
        self._engine = engine
        self._settings = settings
        self._reread = reread
        self._worker = Worker(VISITORS + settings.passes + settings.probes + OTHERS)
        self._meters = Meters(lambda: self._loop.waiting, lambda: len(self._loop.wanted.desired))
        self._loop = Loop(engine, self._worker, loop_settings(settings), self._tell, lambda: self._worker.is_stopping)
        self._roster = Roster(
            *(layout, engine.database, self._apply),
            settings=followed(settings),
            tell=self._tell_source,
            settle=settings.debounce,
            steering=Steering("", settings.self_heal, settings.window, settings.rollouts),
        )
        shares = Shares(lambda: self._worker.is_stopping, settings.followers)
        self._served = Served(
            *(layout, engine, self._worker, self._loop, self._roster, self._meters, shares),
            patience=settings.patience,
        )
        self._meters.show("trimtab_followers", "Streams that clients follow.", lambda: shares[Use.FOLLOW])
        self._leave = asyncio.Event()

    async def live(self) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(self._worker.close)
            heard = await listen(stack, self._served, self._settings)
            self._hear_signals()
            for work in (self._keep(), self._follow(), self._watch_store(), self._collect(), _feed_watchdog()):
                stack.push_async_callback(_end, asyncio.ensure_future(work))
            LOG.info("ready", pid=os.getpid(), root=str(self._layout.root), listen=heard)
            notify.ready(STATUS)
            await self._leave.wait()
            notify.stopping()
            LOG.info("stopping", note="containers go on running")
            self._worker.stop()
            if not await self._settle(self._settings.stop_timeout):
                LOG.warning("an action is still under way; the next apply does the rest")

    async def _keep(self) -> None:
        """The loop, begun again should it ever end: one fault must not leave the machine alone."""
        while True:
            try:
                await self._loop.run()
            except Exception as error:
                LOG.error("the loop failed and begins again", exc_info=error)
                await asyncio.sleep(1.0)

    async def _settle(self, seconds: float) -> bool:
        """Wait until nothing of ours acts any more: no client's apply, no source's, no pass of the loop."""
        end = time.monotonic() + seconds
        settled = await self._worker.settle(seconds)
        while settled and is_held_here(self._layout.lock):
            settled = time.monotonic() < end
            await asyncio.sleep(0.02)
        return settled

    async def _apply(self, offer: Offer) -> Applied:
        """What a source offers, made so."""
        try:
            return await self._worker.write(
                apply_offer,
                *(self._engine, offer, self._tell_action),
                parallel=self._settings.parallel,
                stop=lambda: self._worker.is_stopping,
            )
        finally:
            self._loop.asked_changed()

    async def _follow(self) -> None:
        while True:
            try:
                await self._roster.run()
            except Exception as error:
                LOG.error("following sources failed and begins again", exc_info=error)
                await asyncio.sleep(1.0)

    async def _collect(self) -> None:
        """Images that nobody uses, when the disk fills."""
        while True:
            await asyncio.sleep(self._settings.collect_every)
            marks = Marks(self._settings.collect_above, self._settings.collect_until, self._settings.collect_age)
            try:
                found = await self._worker.write(free, self._engine, marks)
            except (TrimtabError, OSError) as error:
                LOG.warning("nothing was collected", error=str(error))
                continue
            if found is not None:
                LOG.info("collected", bytes=found.bytes, blobs=len(found.blobs), layers=len(found.layers))

    async def _watch_store(self) -> None:
        """Whether somebody else has applied something: a Source object may be among it."""
        seen = -1
        while True:
            found = await self._worker.do(data_version, self._engine)
            if found != seen:
                self._roster.refresh()
            seen = found
            await asyncio.sleep(STORE_SECONDS)

    def _tell_action(self, action: Action, outcome: Outcome | None) -> None:
        """Of a source's apply; called from its thread."""
        if outcome is not None and outcome.result is not Result.UNCHANGED:
            self._tell("action", told(outcome))

    def _tell_source(self, status: SourceStatus) -> None:
        values = {
            "source": status.name,
            "state": status.state.value,
            "message": status.message,
            "commit": status.commit,
        }
        self._meters.hear("source", values)
        getattr(LOG, "warning" if status.state is State.STALLED else "info")("source", **values)

    def _tell(self, event: str, values: Mapping[str, Any]) -> None:
        """What the loop does, in the log and the meters; looks at things are for the curious."""
        self._meters.hear(event, values)
        failed = values.get("error") is not None
        level = "warning" if failed else "debug" if event in ("pass", "passed") else "info"
        getattr(LOG, level)(event, **values)

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        """What is wrong with the new settings changes nothing."""
        notify.reloading()
        try:
            new = self._reread()
            followed(new)
        except Refused as error:
            LOG.error("not reloaded", error=str(error))
        else:
            kept = [name for name in FIXED if getattr(new, name) != getattr(self._settings, name)]
            log.set_up(new.log, new.log_level, log.real_stderr())
            self._loop.settings = loop_settings(new)
            self._roster.refresh(followed(new), Steering("", new.self_heal, new.window, new.rollouts))
            self._settings = new
            self._served.patience = new.patience
            LOG.info("reloaded", **({"only after a new start": kept} if kept else {}))
        notify.ready(STATUS)


def loop_settings(settings: Settings) -> LoopSettings:
    return LoopSettings(
        resync=settings.resync,
        parallel=settings.parallel,
        passes=settings.passes,
        probes=settings.probes,
        self_heal=settings.self_heal,
        window=settings.window,
        rollouts=settings.rollouts,
    )


def followed(settings: Settings) -> list[Followed]:
    """The sources of the settings. Raises Refused for what is none."""
    return [read_source(each, interval=settings.poll, prune=settings.prune) for each in settings.source]


async def _feed_watchdog() -> None:
    """Only while the event loop turns."""
    seconds = notify.watchdog_seconds()
    while seconds is not None:
        notify.notify("WATCHDOG=1")
        await asyncio.sleep(seconds)


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
