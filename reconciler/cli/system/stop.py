"""The work of `trimtab system stop`: end what of the engine runs besides containers. The next apply starts it again."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from reconciler.daemon.single import only_daemon
from reconciler.engine import open_engine
from reconciler.kinds.container import LIVING
from reconciler.lock import engine_lock
from reconciler.store.records import read_records
from runtime.layout import Layout
from runtime.network.dns.process import read_dns, stop_dns
from runtime.process.client import read_process, stop_launcher
from runtime.volumes.contents_store import remove_store
from schemas.errors import Refused

LOCK_SECONDS = 30.0
SHOWN = 5


def stop(layout: Layout, *, force: bool) -> None:
    """Raises Refused while a daemon works; while containers run, too, unless `force`: they go on without names."""
    if os.geteuid() != 0:
        raise Refused("trimtab drives the kernel and needs root", step="stop", hint="run it with sudo")
    with only_daemon(layout.daemon_lock, "stop", ""), engine_lock(layout.lock, LOCK_SECONDS):
        running = list(_running(layout))
        if running and not force:
            raise _refusal(running)
        for line in _end(layout):
            click.echo(line)
    if running:
        click.echo(f"{len(running)} containers go on, but find nobody by name until the next apply.")


def _running(layout: Layout) -> Iterator[str]:
    directory = layout.run / "containers"
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        process = read_process(layout, path.name)
        if process is not None and process.phase.value in LIVING:
            yield path.name


def _refusal(running: list[str]) -> Refused:
    more = f" and {len(running) - SHOWN} more" if len(running) > SHOWN else ""
    message = f"containers run: {', '.join(running[:SHOWN])}{more}"
    hint = "`trimtab delete` them first (`trimtab system info` lists the sets), or give --force and let them go on"
    return Refused(message, step="stop", hint=hint)


def _end(layout: Layout) -> Iterator[str]:
    dns = read_dns(layout).alive
    stop_dns(layout)
    yield "The DNS server has ended." if dns else "No DNS server ran."
    stop_launcher(layout)
    yield "The launcher has ended."
    if not _is_used(layout) and remove_store(layout):
        yield f"{layout.secrets} is unmounted."


def _is_used(layout: Layout) -> bool:
    """Whether anything is declared: then contents of Secrets may be needed again."""
    if not layout.store.exists():
        return False
    with open_engine(layout) as engine:
        return bool(read_records(engine.database))
