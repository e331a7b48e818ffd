"""A directory under a storm of edits of every kind: what is yielded last is what stands there."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.sources.directory import read_texts
from reconciler.sources.revision import Revision, SourceTrouble
from reconciler.sources.watched import WatchedDirectory
from schemas.errors import Refused
from tests.sources.following import Following, follow, run

Edit = Callable[[Path, random.Random], None]


def some_directory(root: Path, chance: random.Random) -> Path:
    found = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    return chance.choice(sorted(found))


def some_file(root: Path, chance: random.Random) -> Path | None:
    found = sorted(path for path in root.rglob("*.yaml") if not path.is_dir())
    return chance.choice(found) if found else None


def write(root: Path, chance: random.Random) -> None:
    (some_directory(root, chance) / f"{chance.choice('abcdef')}.yaml").write_text(f"a: {chance.random()}\n")


def write_atomically(root: Path, chance: random.Random) -> None:
    directory = some_directory(root, chance)
    (directory / ".tmp").write_text(f"a: {chance.random()}\n")
    (directory / ".tmp").rename(directory / f"{chance.choice('abcdef')}.yaml")


def remove(root: Path, chance: random.Random) -> None:
    file = some_file(root, chance)
    if file is not None:
        file.unlink()


def make_directory(root: Path, chance: random.Random) -> None:
    made = some_directory(root, chance) / chance.choice("xyz")
    made.mkdir(exist_ok=True)
    (made / "g.yaml").write_text(f"a: {chance.random()}\n")


def move_directory(root: Path, chance: random.Random) -> None:
    directory = some_directory(root, chance)
    target = root / chance.choice("xyzuvw")
    if directory != root and not target.exists():
        directory.rename(target)


def remove_directory(root: Path, chance: random.Random) -> None:
    directory = some_directory(root, chance)
    if directory != root:
        shutil.rmtree(directory)


def link_elsewhere(root: Path, chance: random.Random) -> None:
    far = root.parent / f"far-{chance.choice('12')}.txt"
    far.write_text(f"a: {chance.random()}\n")
    link = root / f"link-{chance.choice('12')}.yaml"
    link.unlink(missing_ok=True)
    link.symlink_to(far)


def write_elsewhere(root: Path, chance: random.Random) -> None:
    (root.parent / f"far-{chance.choice('12')}.txt").write_text(f"a: {chance.random()}\n")


def replace_root(root: Path, chance: random.Random) -> None:
    shutil.copytree(root, root.parent / "copy", symlinks=True)
    root.rename(root.parent / "old")
    (root.parent / "copy").rename(root)
    shutil.rmtree(root.parent / "old")


EDITS: list[Edit] = [
    *(write, write_atomically, remove, make_directory, move_directory, remove_directory),
    *(link_elsewhere, write_elsewhere, replace_root),
]


@pytest.mark.parametrize("seed", range(6))
def test_after_a_storm_the_last_revision_is_what_stands_there(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    root = tmp_path / "manifests"
    root.mkdir()
    (root / "a.yaml").write_text("a: 1\n")

    async def scenario() -> None:
        async with follow(WatchedDirectory(root, interval=3600)) as following:
            for _ in range(40):
                chance.choice(EDITS)(root, chance)
                await asyncio.sleep(chance.choice([0, 0, 0, 0.02, 0.08]))
            await settled(following, root)

    run(scenario)


async def settled(following: Following, root: Path) -> None:
    """Until the last that was yielded is what is there; within the time of one glance and some."""
    last: object = None
    async with asyncio.timeout(5):
        while not is_there(last, root):
            last = await following.queue.get()


def is_there(last: object, root: Path) -> bool:
    try:
        texts = tuple(read_texts([str(root)]))
    except Refused:
        return isinstance(last, SourceTrouble) and "no manifests" in last.message
    return isinstance(last, Revision) and last.texts == texts
