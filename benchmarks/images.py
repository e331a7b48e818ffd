"""What pulls and pushes are measured with: an image, always the same, and a fresh file system for each tool.

480 MB in 21,000 files and 5 layers, whose content compresses twofold; files are as large as those of packages are.
"""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from benchmarks.ground import make_ext4, run
from tests.registry.samples import Sample, digest_of, image

MEGABYTES = 480
FILES = 21_000
LAYER_SHARES = (0.40, 0.25, 0.15, 0.12, 0.08)
FILES_PER_DIRECTORY = 40
DISK_FACTOR = 5
"""Size of the file system in sizes of the image."""
SEED = 20261124
TITLE = f"{MEGABYTES} MB, {FILES:,} files, {len(LAYER_SHARES)} layers"


def make_layers(total: int = MEGABYTES * 1_000_000) -> list[bytes]:
    """`total` bytes in FILES files. Sizes are spread log-normally, as those of a distribution's packages are."""
    source = random.Random(SEED)
    return [
        make_layer(source, number, int(FILES * share), int(total * share)) for number, share in enumerate(LAYER_SHARES)
    ]


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


def packed(layers: list[bytes]) -> Sample:
    """As a registry has it: gzip."""
    from isal import igzip

    return image(*layers, pack=lambda tar: igzip.compress(tar, mtime=0))


def write_archive(layers: list[bytes], name: str, file: Path) -> None:
    """As `docker save` writes it: plain layers, which whoever pushes has to compress."""
    sample = image(*layers, pack=lambda tar: tar)
    config = next(digest for digest in sample.blobs if digest not in sample.layers)
    parts = {f"{config[7:]}.json": sample.blobs[config]}
    parts |= {f"{digest_of(layer)[7:]}/layer.tar": layer for layer in layers}
    names = list(parts)
    listed = [{"Config": names[0], "RepoTags": [name], "Layers": names[1:]}]
    parts["manifest.json"] = json.dumps(listed).encode()
    with tarfile.open(file, "w") as archive:
        for member_name, content in parts.items():
            member = tarfile.TarInfo(member_name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))


@contextmanager
def fresh_ext4(scratch: Path, size: int = DISK_FACTOR * MEGABYTES * 1_000_000) -> Iterator[Path]:
    """An empty ext4 of `size` bytes on a loop device below `scratch`, mounted; gone at the end."""
    backing, point = scratch / "fresh.img", scratch / "fresh"
    make_ext4(backing, point, size)
    try:
        yield point
    finally:
        run("umount", "--recursive", str(point))
        point.rmdir()
        backing.unlink()


def synced(work: Callable[[], object], directory: Path) -> Callable[[], None]:
    """The work, and everything of it on the disk."""

    def both() -> None:
        work()
        run("sync", "-f", str(directory))

    return both
