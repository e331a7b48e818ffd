"""The command `trimtab` as a user starts it: a process of its own, cold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runtime.layout import Layout

TREE = Path(__file__).resolve().parent.parent
PROGRAM = Path(sys.executable).with_name("trimtab")


def environment() -> dict[str, str]:
    """Without what a test machine sets: compiled modules may be kept, as everywhere else. Code of this very tree."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**found, "PYTHONPATH": str(TREE)}


def trimtab(layout: Layout, *arguments: str, expected: int = 0) -> str:
    """What it prints. Raises RuntimeError when it exits with another status than `expected`."""
    command = [str(PROGRAM), "--root", str(layout.root), "--run", str(layout.run), *arguments]
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != expected:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
