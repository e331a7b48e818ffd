"""The work of `trimtab system info`: one document about the engine, as text or JSON."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import click

from reconciler.cli.outline import outline
from reconciler.cli.quantities import size_text
from reconciler.cli.version_command import VERSION
from reconciler.engine import open_engine
from reconciler.store.database import FORMAT
from reconciler.store.inventory import read_sets
from reconciler.store.records import read_records
from runtime.kernel import cgroup
from runtime.kernel.features.table import nearest
from runtime.layout import Layout
from runtime.network.dns.process import read_dns
from runtime.process.client import read_process
from schemas.names import API_VERSION, Key, Kind


def print_info(layout: Layout, output: str) -> None:
    """As an outline or JSON."""
    document = read_info(layout)
    if output == "json":
        click.echo(json.dumps({"apiVersion": API_VERSION, "kind": "SystemInfo", **document}, indent=2))
        return
    for line in outline(document, 0):
        click.echo(line)


def read_info(layout: Layout) -> dict[str, Any]:
    """The kind `SystemInfo` of docs/objects.md, without its head."""
    disk = shutil.disk_usage(nearest(layout.root))
    return {
        "engine": {"id": layout.engine_id, "root": str(layout.root), "run": str(layout.run)},
        "versions": {"trimtab": VERSION, "python": platform.python_version(), "store": FORMAT},
        "kernel": os.uname().release,
        "machine": os.uname().machine,
        "cgroups": cgroup.detect(),
        "disk": {"size": size_text(disk.total), "free": size_text(disk.free)},
        **_holdings(layout),
        "launcher": _launcher(layout),
        "dns": _dns(layout),
    }


def _holdings(layout: Layout) -> dict[str, Any]:
    """Counts of what was applied. An engine that was never used has no store, and gets none by being asked."""
    if not layout.store.exists():
        return {"objects": {}, "processes": {}, "sets": {}}
    with open_engine(layout) as engine:
        records, sets = read_records(engine.database), read_sets(engine.database)
    return {
        "objects": dict(Counter(key.kind.value for key in records)),
        "processes": dict(Counter(_phase(layout, key) for key in records if key.kind is Kind.CONTAINER)),
        "sets": sets,
    }


def _phase(layout: Layout, key: Key) -> str:
    process = read_process(layout, key.name)
    return process.phase.value if process is not None else "none"


def _launcher(layout: Layout) -> dict[str, Any]:
    """Whether one lives is told by its lock, which the kernel takes back when it dies."""
    try:
        with Path(f"{layout.launcher_socket}.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return {"state": "running", "pid": int(lock.read() or 0)}
    except FileNotFoundError:
        pass
    return {"state": "not running; it is started when needed"}


def _dns(layout: Layout) -> dict[str, Any]:
    found = read_dns(layout)
    if not found.alive:
        return {"state": "not running; it is started with the first network"}
    return {
        "state": "running" if found.is_current else "running, of another version",
        "pid": found.pid,
        "listening": [f"{network} {address}" for network, address in found.listening],
        "failed": [f"{network} {address}: {reason}" for network, address, reason in found.failed],
    }
