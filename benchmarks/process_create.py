"""How long one container takes, by the engine's own API, warm: create, start, exit, delete.

`python benchmarks/process_create.py [ROUNDS]` prints medians in milliseconds and the memory of one monitor. Needs root
and busybox-static. No peers here: `make bench` compares.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime.layout import Layout
from runtime.process import client
from tests.process.bundles import specification, write_bundle

STEPS = ("create", "start", "wait", "delete")


def main(rounds: int) -> None:
    """Measure and print."""
    base = Path(tempfile.mkdtemp(prefix="ttb-", dir="/tmp"))
    layout = Layout(base / "root", base / "run")
    try:
        tree = make_tree(base / "layer")
        for early in (False, True):
            measure(layout, tree, rounds, early)
        print_memory(layout, tree)
    finally:
        client.stop_launcher(layout)
        shutil.rmtree(base)


def make_tree(tree: Path) -> Path:
    """A layer of busybox."""
    (tree / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    for applet in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    tree.chmod(0o755)
    return tree


def measure(layout: Layout, tree: Path, rounds: int, early: bool) -> None:
    """One container after another, each with everything on."""
    spec = specification("true", noNewPrivileges=True)
    times: list[list[float]] = []
    for number in range(rounds + 3):
        # a new bundle each time, and not part of what is measured: another room writes it
        shutil.rmtree(layout.container("one"), ignore_errors=True)
        write_bundle(layout, "one", tree, dict(spec))
        laps = [time.perf_counter()]
        client.create(layout, "one", early=early)
        laps.append(time.perf_counter())
        client.start(layout, "one")
        laps.append(time.perf_counter())
        client.wait(layout, "one", 30)
        laps.append(time.perf_counter())
        client.delete(layout, "one")
        laps.append(time.perf_counter())
        if number >= 3:
            times.append([1000 * (after - before) for before, after in pairwise(laps)])
    print_table("early create" if early else "create", times)


def print_table(title: str, times: list[list[float]]) -> None:
    """Medians and the best tenth, step by step and together."""
    totals = sorted(sum(lap) for lap in times)
    medians = [statistics.median(lap[number] for lap in times) for number in range(len(STEPS))]
    parts = "  ".join(f"{name} {value:.2f}" for name, value in zip(STEPS, medians, strict=True))
    print(
        f"{title:<13} median {statistics.median(totals):.2f} ms"
        f"  best tenth {totals[len(totals) // 10]:.2f} ms  ({parts})"
    )


def print_memory(layout: Layout, tree: Path) -> None:
    """What one of twelve monitors costs, in KiB."""
    names = [f"box{number}" for number in range(12)]
    for name in names:
        write_bundle(layout, name, tree, specification("sleep", "600"))
        client.create(layout, name)
        client.start(layout, name)
    seen = client.read_process(layout, "box6")
    assert seen is not None
    fields = memory_fields(seen.monitor_pid)
    print(f"one monitor: PSS {fields['Pss']} KiB, of its own {fields['Private_Dirty'] + fields['Private_Clean']} KiB")
    for name in names:
        client.delete(layout, name, force=True)


def memory_fields(pid: int) -> dict[str, int]:
    """The lines of /proc/PID/smaps_rollup, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
