"""How long an image takes from a registry to unpacked layers: trimtab against podman and skopeo.

    python benchmarks/pull.py [--rounds N] [--megabytes N] [--scratch DIR] [--json FILE]

Needs root, docker-registry and mkfs.ext4; peers that are not installed are left out. Makes an image of 480 MB in 21,000
files and 5 layers, always the same, whose content compresses twofold; serves it on loopback from Debian's
docker-registry; and in each round gives every tool in turn a fresh ext4 on a loop device. A time is from the call until
everything is unpacked and the file system is synced. trimtab is called through `ensure_image` in this process, warm, as
its daemon would call it; the peers are programs, whose start costs some 50 ms. Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from isal import igzip

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import tell
from runtime.images.ensure import ensure_image
from runtime.images.registry.settings import HostSettings, RegistrySettings
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from tests.registry.distribution import docker_registry
from tests.registry.samples import Address, Sample, image, push

FILES = 21_000
LAYER_SHARES = (0.40, 0.25, 0.15, 0.12, 0.08)
FILES_PER_DIRECTORY = 40
DISK_FACTOR = 5
"""Size of the file system in sizes of the image."""
SEED = 20261124


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to pull: called with an empty directory to keep everything in, and the image's name."""

    name: str
    pull: Callable[[Path, str], None]


def make_image(total: int) -> Sample:
    """`total` bytes in FILES files. Sizes are spread log-normally, as those of a distribution's packages are."""
    source = random.Random(SEED)
    layers = [
        make_layer(source, number, int(FILES * share), int(total * share)) for number, share in enumerate(LAYER_SHARES)
    ]
    return image(*layers, pack=lambda tar: igzip.compress(tar, mtime=0))


def make_layer(source: random.Random, number: int, files: int, total: int) -> bytes:
    weights = [source.lognormvariate(0, 1.6) for _ in range(files)]
    scale = total / sum(weights)
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for at, weight in enumerate(weights):
            if at % FILES_PER_DIRECTORY == 0:
                directory = tarfile.TarInfo(f"layer{number}/d{at // FILES_PER_DIRECTORY}")
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(directory)
            content = source.randbytes(max(1, int(weight * scale) // 2)).hex().encode()
            member = tarfile.TarInfo(f"{directory.name}/f{at}")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, BytesIO(content))
    return buffer.getvalue()


@contextmanager
def fresh_ext4(scratch: Path, size: int) -> Iterator[Path]:
    """An empty ext4 of `size` bytes on a loop device, mounted; gone at the end."""
    backing, point = scratch / "disk.img", scratch / "disk"
    point.mkdir()
    with backing.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", str(backing)], check=True)
    subprocess.run(["mount", "-o", "loop", str(backing), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "--recursive", str(point)], check=True)
        point.rmdir()
        backing.unlink()


def pull_with_trimtab(directory: Path, reference: str) -> None:
    host = reference.partition("/")[0]
    settings = RegistrySettings(registries={host: HostSettings(insecure=True)})
    layout = Layout(directory / "root", directory / "run")
    record = ensure_image(layout, ImageWanted("bench", ref=reference), settings)
    assert len(record.layers) == len(LAYER_SHARES)


def pull_with_podman(directory: Path, reference: str) -> None:
    places = ("--root", str(directory / "root"), "--runroot", str(directory / "run"), "--storage-driver", "overlay")
    run("podman", *places, "pull", "--quiet", "--tls-verify=false", reference)


def pull_with_skopeo(directory: Path, reference: str) -> None:
    """Into the same kind of storage as podman's."""
    storage = f"containers-storage:[overlay@{directory}/root+{directory}/run]{reference}"
    run("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{reference}", storage)


def run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")


def installed() -> list[Tool]:
    peers = [Tool("podman", pull_with_podman), Tool("skopeo", pull_with_skopeo)]
    return [Tool("trimtab", pull_with_trimtab), *(peer for peer in peers if shutil.which(peer.name))]


def measure(tool: Tool, scratch: Path, size: int, reference: str) -> float:
    """Seconds of one pull onto a fresh file system."""
    with fresh_ext4(scratch, size) as directory:
        os.sync()
        started = time.perf_counter()
        tool.pull(directory, reference)
        subprocess.run(["sync", "-f", str(directory)], check=True)
        return time.perf_counter() - started


def pull_times(scratch: Path, total: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round by tool, for an image of `total` bytes."""
    scratch.mkdir(exist_ok=True)
    with docker_registry(scratch / "registry") as address:
        sample = make_image(total)
        push(address, "bench", "latest", sample)
        packed = sum(map(len, sample.blobs.values()))
        layers = len(LAYER_SHARES)
        tell(f"  {total / 1e6:.0f} MB in {FILES} files and {layers} layers, {packed / 1e6:.0f} MB compressed")
        del sample
        return compare(address, scratch, total, rounds)


def compare(address: Address, scratch: Path, total: int, rounds: int) -> dict[str, list[float]]:
    reference = f"{address.host}/bench:latest"
    times: dict[str, list[float]] = {tool.name: [] for tool in installed()}
    for number in range(rounds):
        for tool in installed():
            seconds = measure(tool, scratch, DISK_FACTOR * total, reference)
            times[tool.name].append(seconds)
            tell(f"  round {number + 1}: {tool.name} {seconds:.2f} s")
    return times


def table(times: dict[str, list[float]]) -> str:
    ours = statistics.median(times["trimtab"])
    lines = [f"{'tool':10}{'median s':>10}{'best s':>9}{'trimtab is':>12}"]
    for name, seconds in times.items():
        median = statistics.median(seconds)
        lines.append(f"{name:10}{median:>10.2f}{min(seconds):>9.2f}{ours / median:>11.2f}x")
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--megabytes", type=int, default=480)
    arguments.add_argument("--scratch", type=Path, help="where disks are made (default: /dev/shm)")
    arguments.add_argument("--json", type=Path, help="where the times are written to")
    told = arguments.parse_args()

    scratch = Path(tempfile.mkdtemp(prefix="tt-pull-", dir=told.scratch or "/dev/shm"))
    try:
        times = pull_times(scratch, told.megabytes * 1_000_000, told.rounds)
    finally:
        shutil.rmtree(scratch)
    print(table(times))
    if told.json:
        told.json.write_text(json.dumps({"megabytes": told.megabytes, "seconds": times}, indent=2) + "\n")


if __name__ == "__main__":
    main()
