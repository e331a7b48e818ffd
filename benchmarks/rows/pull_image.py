"""Pull and unpack of a large image from a registry on loopback, each time onto the same kind of fresh file system.

The work is `benchmarks/pull.py`'s, which can also be run alone; here it takes part in the one table.
"""

from __future__ import annotations

import shutil

from benchmarks import pull
from benchmarks.ground import Ground
from benchmarks.records import ABSENT, OURS, Row, Series, Target, absent
from benchmarks.timing import tell

MEGABYTES = 480
PEERS = ("podman", "skopeo")


def measure(ground: Ground, rounds: int) -> list[Row]:
    title = f"Pull and unpack {MEGABYTES} MB, {pull.FILES:,} files, {len(pull.LAYER_SHARES)} layers"
    if shutil.which("docker-registry") is None:
        return [Row("pull", title, "s", (Series(OURS, why_not="docker-registry is not installed"),))]
    tell("  making the image, and pushing it to docker-registry")
    times = pull.pull_times(ground.live / "pull", MEGABYTES * 1_000_000, max(1, rounds // 2))
    series = [Series(tool, tuple(seconds)) for tool, seconds in times.items()]
    missing = absent((name, ABSENT) for name in PEERS if name not in times)
    return [Row("pull", title, "s", (*series, *missing), (Target(0.7, "podman"),))]
