"""Processes of the run's own, by name: the host's daemons have such processes too, which are none of ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def own_processes(comm: str) -> list[int]:
    """Pids of processes in this mount namespace whose name (`comm`, at most 15 bytes) is this."""
    own = Path("/proc/self/ns/mnt").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "comm").read_text() == f"{comm[:15]}\n" and (entry / "ns/mnt").readlink() == own:
                    found.append(int(entry.name))
    return found
