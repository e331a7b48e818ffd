"""Watches on what lies in layers and volumes: what they tell, and what happens where there are too many."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from reconciler.loop.watch_files import COMING_AND_GOING, FileChanges
from reconciler.loop.watch_inside import InsideChanges


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def layer(directory: Path, name: str) -> Path:
    (directory / name / "tree/bin").mkdir(parents=True)
    return directory / name


def test_a_tree_or_data_that_is_removed_is_told_and_nothing_beside_it(tmp_path: Path) -> None:
    one, data = layer(tmp_path / "layers", "one"), tmp_path / "volumes/data/_data"
    data.mkdir(parents=True)

    async def work() -> None:
        told: list[str] = []
        files = FileChanges(told.append)
        inside = InsideChanges(files, lambda count: told.append(f"full at {count}"))
        inside.know_layers(tmp_path / "layers", lambda name: told.append(f"layer {name}"))
        inside.know_volumes(tmp_path / "volumes", lambda name: told.append(f"volume {name}"), ["data", "nothing"])
        (one / "record").touch()
        (one / "tree/bin/sh").touch()
        (data / "file").touch()
        (data.parent / "record").touch()
        shutil.rmtree(one / "tree")
        await until(lambda: told != [])
        shutil.rmtree(data)
        await until(lambda: len(told) > 1)
        assert told == ["layer one", "volume data"]
        files.close()

    asyncio.run(work())


def test_a_layer_that_is_made_again_is_watched_again(tmp_path: Path) -> None:
    one = layer(tmp_path, "one")

    async def work() -> None:
        told: list[str] = []
        files = FileChanges(told.append)
        inside = InsideChanges(files, lambda count: told.append(f"full at {count}"))
        inside.know_layers(tmp_path, told.append)
        files.watch(str(tmp_path), COMING_AND_GOING, lambda name: inside.renew(tmp_path, name, told.append))
        for _ in range(3):
            one.rename(tmp_path.parent / "aside")
            layer(tmp_path, "one")
            await asyncio.sleep(0.05)
            shutil.rmtree(tmp_path.parent / "aside")
            told.clear()
            shutil.rmtree(one / "tree")
            await until(lambda: told == ["one"])
        files.close()

    asyncio.run(work())


def test_no_more_than_so_many_are_watched_and_that_is_told_once(tmp_path: Path) -> None:
    for number in range(5):
        layer(tmp_path, str(number))

    async def work() -> None:
        told: list[int] = []
        files = FileChanges(lambda why: None)
        inside = InsideChanges(files, told.append, most=3)
        for _ in range(2):
            inside.know_layers(tmp_path, lambda name: None)
        assert len(files) == 3 and told == [3]
        for path in tmp_path.iterdir():
            if files.is_watched(str(path)):
                shutil.rmtree(path)
        await until(lambda: len(files) == 0)
        inside.know_layers(tmp_path, lambda name: None)
        assert len(files) == 2, "those that are gone have made room"
        files.close()

    asyncio.run(work())
