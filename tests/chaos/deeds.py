"""What a hand, a fault or a fate may do to a machine: each deed harms an engine, and none tells it so."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from runtime.kernel import cgroup, mount
from runtime.layout import Layout
from runtime.network.dns.process import read_dns
from runtime.process.client import read_process

Deed = Callable[[Layout, random.Random], None]


def _kill(pid: int | None) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def living(layout: Layout) -> list[str]:
    """Names of containers that have a live directory."""
    directory = layout.run / "containers"
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def _any(layout: Layout, dice: random.Random) -> str | None:
    names = living(layout)
    return dice.choice(names) if names else None


def kill_an_init(layout: Layout, dice: random.Random) -> None:
    if (name := _any(layout, dice)) and (process := read_process(layout, name)):
        _kill(process.pid)


def kill_a_monitor(layout: Layout, dice: random.Random) -> None:
    if (name := _any(layout, dice)) and (process := read_process(layout, name)):
        _kill(process.monitor_pid)


def kill_every_init(layout: Layout, dice: random.Random) -> None:
    for name in living(layout):
        if process := read_process(layout, name):
            _kill(process.pid)


def kill_the_launcher(layout: Layout, dice: random.Random) -> None:
    with contextlib.suppress(OSError, ValueError):
        _kill(int(Path(f"{layout.launcher_socket}.lock").read_text() or "0"))


def kill_the_dns_server(layout: Layout, dice: random.Random) -> None:
    if (found := read_dns(layout)) is not None:
        _kill(found.pid)


def delete_a_link(layout: Layout, dice: random.Random) -> None:
    if names := links():
        subprocess.run(["ip", "link", "del", dice.choice(names)], check=False, capture_output=True)


def links() -> list[str]:
    """Names of the engine's links, in this network namespace."""
    said = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    return [line.split("@")[0].split()[0] for line in said.splitlines() if line.startswith("tt")]


def flush_the_firewall(layout: Layout, dice: random.Random) -> None:
    subprocess.run(["nft", "flush", "ruleset"], check=False, capture_output=True)


def edit_a_limit(layout: Layout, dice: random.Random) -> None:
    if name := _any(layout, dice):
        with contextlib.suppress(OSError):
            cgroup.ensure_limits(layout.cgroup(name), {"pids": {"limit": 77}})


def remove_a_live_directory(layout: Layout, dice: random.Random) -> None:
    if name := _any(layout, dice):
        shutil.rmtree(layout.run / "containers" / name, ignore_errors=True)


def remove_a_layer(layout: Layout, dice: random.Random) -> None:
    found = [path for path in layout.layers.glob("*") if len(path.name) == 64] if layout.layers.is_dir() else []
    if found:
        shutil.rmtree(dice.choice(found) / "tree", ignore_errors=True)


def remove_the_data_of_an_empty_volume(layout: Layout, dice: random.Random) -> None:
    found = sorted(layout.volumes.glob("*/_data"))
    if found:
        # one that holds anything stays
        with contextlib.suppress(OSError):
            dice.choice(found).rmdir()


def unmount_the_secrets(layout: Layout, dice: random.Random) -> None:
    with contextlib.suppress(OSError):
        mount.umount2(str(layout.run / "secrets"), mount.MNT_DETACH)


DEEDS: dict[str, Deed] = {
    deed.__name__: deed
    for deed in (
        kill_an_init,
        kill_a_monitor,
        kill_every_init,
        kill_the_launcher,
        kill_the_dns_server,
        delete_a_link,
        flush_the_firewall,
        edit_a_limit,
        remove_a_live_directory,
        remove_a_layer,
        remove_the_data_of_an_empty_volume,
        unmount_the_secrets,
    )
}
