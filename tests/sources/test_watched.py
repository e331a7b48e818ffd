"""A directory as a source, with real files: every way in which people and programs write them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.sources.revision import Revision
from reconciler.sources.watched import WatchedDirectory
from tests.sources.following import follow, run


def manifest(name: str, content: str = "x") -> str:
    return f"apiVersion: trimtab/v1\nkind: Config\nmetadata: {{name: {name}}}\nspec: {{content: {content}}}\n"


def names(revision: Revision) -> list[str]:
    return [Path(text.name).name for text in revision.texts]


def said(revision: Revision) -> bytes:
    return b"".join(text.text for text in revision.texts if isinstance(text.text, bytes))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "manifests"
    made.mkdir()
    (made / "a.yaml").write_text(manifest("a"))
    return made


def test_the_first_revision_comes_at_once_and_only_once(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory)) as following:
            assert names(await following.revision()) == ["a.yaml"]
            await following.silence()

    run(scenario)


def rewrite(directory: Path) -> None:
    (directory / "a.yaml").write_text(manifest("a", "y"))


def replace_atomically(directory: Path) -> None:
    (directory / ".a.yaml.swp").write_text(manifest("a", "y"))
    (directory / ".a.yaml.swp").rename(directory / "a.yaml")


def back_up_and_write_anew(directory: Path) -> None:
    (directory / "a.yaml").rename(directory / "a.yaml~")
    (directory / "a.yaml").write_text(manifest("a", "y"))


def move_in_from_elsewhere(directory: Path) -> None:
    (directory.parent / "elsewhere").write_text(manifest("a", "y"))
    (directory.parent / "elsewhere").rename(directory / "a.yaml")


def hard_link_over(directory: Path) -> None:
    (directory.parent / "elsewhere").write_text(manifest("a", "y"))
    (directory / "a.yaml").unlink()
    os.link(directory.parent / "elsewhere", directory / "a.yaml")


@pytest.mark.parametrize(
    "edit", [rewrite, replace_atomically, back_up_and_write_anew, move_in_from_elsewhere, hard_link_over]
)
def test_an_edit_is_one_revision_within_100_ms(directory: Path, edit: Callable[[Path], None]) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            edit(directory)
            written = time.monotonic()
            revision = await following.revision()
            assert b"content: y" in said(revision)
            assert time.monotonic() - written < 0.2  # 100 ms on a quiet machine
            await following.silence()

    run(scenario)


def test_many_writes_in_a_row_are_one_revision(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            for number in range(30):
                (directory / f"{number}.yaml").write_text(manifest(f"n{number}"))
            assert len((await following.revision()).texts) == 31

    run(scenario)


def test_a_file_that_is_open_for_writing_is_not_read_in_half(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            with (directory / "b.yaml").open("w") as file:
                file.write(manifest("b") + "---\n")
                file.flush()
                await following.silence()
                file.write(manifest("c"))
            assert b"name: c" in said(await following.revision())

    run(scenario)


def test_while_git_holds_its_index_nothing_is_read(directory: Path) -> None:
    async def scenario() -> None:
        (directory / ".git").mkdir()
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            (directory / ".git/index.lock").touch()
            (directory / "a.yaml").unlink()
            await following.silence()
            (directory / "b.yaml").write_text(manifest("b"))
            (directory / ".git/index.lock").unlink()
            assert names(await following.revision()) == ["b.yaml"]

    run(scenario)


def test_git_checkout_is_one_revision(directory: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "other")
    (directory / "a.yaml").unlink()
    for number in range(20):
        (directory / f"{number}.yaml").write_text(manifest(f"n{number}"))
    git("add", "-A")
    git("commit", "-qm", "two")

    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            assert len((await following.revision()).texts) == 20
            git("checkout", "-q", "main")
            assert names(await following.revision()) == ["a.yaml"]
            await following.silence()

    run(scenario)


def config_map(directory: Path, version: str) -> None:
    """As the kubelet does it: a directory of its own, and the link `..data` renamed over."""
    fresh = directory / f"..{version}"
    fresh.mkdir(parents=True)
    (fresh / "a.yaml").write_text(manifest("a", version))
    (directory / "..data_tmp").symlink_to(fresh.name)
    (directory / "..data_tmp").rename(directory / "..data")


def test_a_config_map_that_is_swapped_is_seen(tmp_path: Path) -> None:
    directory = tmp_path / "mounted"
    config_map(directory, "one")
    (directory / "a.yaml").symlink_to("..data/a.yaml")

    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            assert b"one" in said(await following.revision())
            for version in ("two", "three"):
                config_map(directory, version)
                assert version.encode() in said(await following.revision())

    run(scenario)


@pytest.mark.parametrize("below", [".", "deploy/manifests"])
def test_a_link_on_the_way_that_is_swapped_is_seen(tmp_path: Path, below: str) -> None:
    for release in ("1", "2", "3"):
        (tmp_path / release / below).mkdir(parents=True)
        (tmp_path / release / below / "a.yaml").write_text(manifest("a", f"release{release}"))
    (tmp_path / "current").symlink_to("1")

    async def scenario() -> None:
        async with follow(WatchedDirectory(tmp_path / "current" / below, interval=3600)) as following:
            await following.revision()
            for release in ("2", "3"):
                (tmp_path / "next").symlink_to(tmp_path / release)
                (tmp_path / "next").rename(tmp_path / "current")
                assert f"release{release}".encode() in said(await following.revision())
            (tmp_path / "3" / below / "a.yaml").write_text(manifest("a", "edited"))
            assert b"edited" in said(await following.revision())

    run(scenario)


def test_a_link_to_a_file_elsewhere_is_followed(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/real.yaml").write_text(manifest("b", "one"))
    (directory / "b.yaml").symlink_to(tmp_path / "far/real.yaml")

    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            (tmp_path / "far/real.yaml").write_text(manifest("b", "two"))
            assert b"two" in said(await following.revision())

    run(scenario)


def test_files_in_a_new_directory_are_seen(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            (directory / "deep/deeper").mkdir(parents=True)
            (directory / "deep/deeper/b.yaml").write_text(manifest("b"))
            assert names(await following.revision()) == ["a.yaml", "b.yaml"]
            (directory / "deep/deeper/b.yaml").write_text(manifest("b", "y"))
            assert b"content: y" in said(await following.revision())
            shutil.rmtree(directory / "deep")
            assert names(await following.revision()) == ["a.yaml"]

    run(scenario)


def test_a_directory_that_vanishes_is_a_trouble_and_comes_back(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            first = await following.revision()
            directory.rename(directory.parent / "away")
            assert "no such file" in (await following.trouble()).message
            directory.mkdir()
            assert "no manifests" in (await following.trouble()).message
            (directory / "a.yaml").write_text(manifest("a"))
            assert (await following.revision()).id == first.id
            (directory / "a.yaml").write_text(manifest("a", "y"))
            assert b"content: y" in said(await following.revision())

    run(scenario)


def test_an_emptied_directory_is_no_revision(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            (directory / "a.yaml").unlink()
            assert "no manifests" in (await following.trouble()).message
            await following.silence()

    run(scenario)


@pytest.mark.kernel
def test_a_mount_over_the_directory_and_its_end_are_seen(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            subprocess.run(["mount", "-t", "tmpfs", "none", str(directory)], check=True)
            try:
                assert "no manifests" in (await following.trouble()).message
                (directory / "b.yaml").write_text(manifest("b"))
                assert names(await following.revision()) == ["b.yaml"]
            finally:
                subprocess.run(["umount", "-l", str(directory)], check=True)
            assert names(await following.revision()) == ["a.yaml"]

    run(scenario)


def test_what_is_no_manifest_is_no_revision(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            (directory / "README.md").write_text("hello")
            (directory / ".hidden.yaml").write_text("half")
            (directory / "data").mkdir()
            (directory / "data/base.wal").write_text("written all the time")
            await following.silence()

    run(scenario)


def test_a_file_that_manifests_point_at_counts(directory: Path) -> None:
    async def scenario() -> None:
        source = WatchedDirectory(directory, interval=3600)
        (directory / "app.env").write_text("A=1")
        async with follow(source) as following:
            first = await following.revision()
            source.attend([directory / "app.env", directory / "later.env"])
            await following.silence()
            (directory / "app.env").write_text("A=2")
            second = await following.revision()
            assert second.texts == first.texts and second.id != first.id
            source.attend([directory / "app.env", directory / "later.env"])
            await following.silence()
            (directory / "later.env").write_text("B=1")
            assert (await following.revision()).id not in (first.id, second.id)
            source.attend([directory / "app.env"])
            await following.silence()

    run(scenario)


def test_a_lost_event_is_found_by_the_periodic_look(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.sources.watch.Watch.told", lambda *_: None)

    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=0.5)) as following:
            await following.revision()
            rewrite(directory)
            assert b"content: y" in said(await following.revision())

    run(scenario)


def test_without_a_watch_left_it_is_read_again_and_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("reconciler.sources.watch.Watch.arm", refuse)

    async def scenario() -> None:
        async with follow(WatchedDirectory(directory, interval=3600)) as following:
            await following.revision()
            rewrite(directory)
            assert b"content: y" in said(await following.revision())

    run(scenario)


def test_fetch_now_yields_again_what_is_nothing_new(directory: Path) -> None:
    async def scenario() -> None:
        source = WatchedDirectory(directory, interval=3600)
        async with follow(source) as following:
            first = await following.revision()
            source.fetch_now()
            assert (await following.revision()).id == first.id

    run(scenario)


def test_a_single_file_is_followed(directory: Path) -> None:
    async def scenario() -> None:
        async with follow(WatchedDirectory(directory / "a.yaml", interval=3600)) as following:
            await following.revision()
            replace_atomically(directory)
            assert b"content: y" in said(await following.revision())

    run(scenario)
