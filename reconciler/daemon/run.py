"""The daemon's life: begin to listen, say so, keep the machine as declared, hear signals, leave.

Containers are nobody's children here: their launcher and monitors outlive this process, and are found again.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

from aiohttp import web

from reconciler.api.application import application
from reconciler.api.served import Served
from reconciler.api.sockets import unix_listener
from reconciler.api.streams import route_streams
from reconciler.daemon import log, notify
from reconciler.daemon.settings import Settings
from reconciler.daemon.single import only_daemon
from reconciler.daemon.worker import Worker
from reconciler.engine import Engine, open_engine
from runtime.layout import Layout

IDLE_SECONDS = 15.0
"""A connection that sends no whole request for so long is closed."""
LINE_BYTES = 8190
LOG = log.logger("daemon")
Reread = Callable[[], Settings]


def run_daemon(layout: Layout, settings: Settings, reread: Reread) -> None:
    """Until SIGTERM or SIGINT. Raises Refused where another daemon is at work, or what to listen on cannot be had."""
    log.set_up(settings.log, settings.log_level, log.real_stderr())
    with only_daemon(layout.daemon_lock), open_engine(layout) as engine:
        route_streams()
        asyncio.run(_live(layout, engine, settings, reread))


async def _live(layout: Layout, engine: Engine, settings: Settings, reread: Reread) -> None:
    worker = Worker()
    served = Served(layout, engine, worker)
    async with AsyncExitStack() as stack:
        stack.callback(worker.close)
        await _listen(stack, served, settings)
        leave = asyncio.Event()
        _hear_signals(leave, lambda: _reload(settings, reread))
        stack.push_async_callback(_end, asyncio.ensure_future(_feed_watchdog()))
        LOG.info("ready", pid=os.getpid(), root=str(layout.root), listen=_addresses(layout, settings))
        notify.ready("keeping the machine as declared")
        await leave.wait()
        notify.stopping()
        LOG.info("stopping", note="containers go on running")
        worker.stop()
        if not await worker.settle(settings.stop_timeout):
            LOG.warning("an action is still under way; it is finished by the next apply")


async def _listen(stack: AsyncExitStack, served: Served, settings: Settings) -> None:
    runner = web.AppRunner(
        application(served),
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
        handler_cancellation=False,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for address in _addresses(served.layout, settings):
        path = (
            served.layout.api_socket
            if not address.startswith("unix://")
            else type(served.layout.api_socket)(address.removeprefix("unix://"))
        )
        listener = unix_listener(path, settings.group)
        stack.callback(path.unlink, missing_ok=True)
        await web.SockSite(runner, listener).start()


def _addresses(layout: Layout, settings: Settings) -> list[str]:
    return list(settings.listen) or [f"unix://{layout.api_socket}"]


def _hear_signals(leave: asyncio.Event, reload: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    loop.add_signal_handler(signal.SIGHUP, reload)


def _reload(settings: Settings, reread: Reread) -> None:
    notify.reloading()
    LOG.info("reloaded")
    notify.ready("keeping the machine as declared")


async def _feed_watchdog() -> None:
    """Only while the event loop turns."""
    seconds = notify.watchdog_seconds()
    while seconds is not None:
        notify.notify("WATCHDOG=1")
        await asyncio.sleep(seconds)


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
