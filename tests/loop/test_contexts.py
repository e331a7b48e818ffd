"""The context of a build is watched: what was written is built again, and what runs it rolls on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.loop.settings import LoopSettings
from reconciler.loop.watch_contexts import ContextChanges, walk
from runtime.images.store import read_image
from runtime.process.client import read_process
from runtime.process.records import Phase, ProcessRecord
from schemas.build import BuildSpec
from schemas.names import Key, Kind
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import daemon
from tests.loop.driving import driven
from tests.machine.machine import Machine, until
from tests.machine.probe import document

KEY = Key(Kind.IMAGE, "app")
SECONDS = 15.0


def told_of(spec: BuildSpec, write: Callable[[], object], again: Callable[[], object] | None = None) -> bool:
    """Whether the watch tells of the write, and if given, of another after it."""

    async def heard(changes: asyncio.Event, act: Callable[[], object], seconds: float) -> bool:
        changes.clear()
        act()
        try:
            async with asyncio.timeout(seconds):
                await changes.wait()
        except TimeoutError:
            return False
        return True

    async def run() -> bool:
        event = asyncio.Event()
        changes = ContextChanges(lambda keys, why: event.set())
        try:
            changes.know({KEY: spec})
            await _armed(changes)
            first = await heard(event, write, SECONDS)
            if not first or again is None:
                return first
            await _armed(changes)
            event.clear()
            return await heard(event, again, SECONDS)
        finally:
            changes.close()

    return asyncio.run(run())


def untold(spec: BuildSpec, write: Callable[[], object], then: Callable[[], object]) -> bool:
    """Whether the first write is kept quiet: only the second is told, and once."""

    async def run() -> bool:
        told: list[str] = []
        changes = ContextChanges(lambda keys, why: told.append(why))
        try:
            changes.know({KEY: spec})
            await _armed(changes)
            told.clear()
            write()
            await asyncio.sleep(0.3)  # what would be told is told by then, or with the second
            quiet = not told
            then()
            async with asyncio.timeout(SECONDS):
                while not told:
                    await asyncio.sleep(0.01)
            return quiet
        finally:
            changes.close()

    return asyncio.run(run())


async def _armed(changes: ContextChanges) -> None:
    async with asyncio.timeout(SECONDS):
        while any(each.tasks or each.timer for each in changes._followed.values()):
            await asyncio.sleep(0.01)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    (path / "src/deep").mkdir(parents=True)
    (path / "node_modules/large").mkdir(parents=True)
    (path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (path / ".dockerignore").write_text("node_modules\n*.log\n")
    (path / "src/deep/a").write_text("a")
    return path


def test_a_file_deep_in_it_is_told(context: Path) -> None:
    assert told_of(BuildSpec(context=str(context)), lambda: (context / "src/deep/a").write_text("b"))


def test_a_file_in_a_directory_made_since_is_told(context: Path) -> None:
    new = context / "src/new/below"
    assert told_of(BuildSpec(context=str(context)), lambda: new.mkdir(parents=True), lambda: (new / "x").touch())


def test_a_directory_moved_away_and_made_anew_is_told(context: Path) -> None:
    def swap() -> None:
        (context / "src").rename(context / "old")
        (context / "src").mkdir()

    assert told_of(BuildSpec(context=str(context)), swap, lambda: (context / "src/x").touch())
    shutil.rmtree(context / "old")


def test_another_directory_in_its_place_is_told(context: Path) -> None:
    def swap() -> None:
        context.rename(context.with_name("before"))
        shutil.copytree(context.with_name("before"), context)

    assert told_of(BuildSpec(context=str(context)), swap, lambda: (context / "src/deep/a").write_text("c"))


def test_another_aim_of_a_link_on_the_way_is_told(context: Path) -> None:
    link = context.with_name("current")
    link.symlink_to(context)

    def swap() -> None:
        shutil.copytree(context, context.with_name("next"))
        (context.with_name("new")).symlink_to("next")
        context.with_name("new").rename(link)

    after = context.with_name("next") / "src/deep/a"
    assert told_of(BuildSpec(context=str(link)), swap, lambda: after.write_text("d"))


def test_a_mode_alone_is_told(context: Path) -> None:
    assert told_of(BuildSpec(context=str(context)), lambda: (context / "src/deep/a").chmod(0o755))


def test_a_dockerfile_elsewhere_and_further_contexts_are_told(context: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "web.Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "assets").mkdir()
    spec = BuildSpec(
        context=str(context),
        dockerfile=str(other / "web.Dockerfile"),
        additional_contexts={"assets": str(tmp_path / "assets"), "base": "docker-image://docker.io/library/a:1"},
    )
    assert told_of(spec, lambda: (other / "web.Dockerfile").write_text("FROM scratch\nENV A=1\n"))
    assert told_of(spec, lambda: (tmp_path / "assets/logo").touch())


def test_what_the_ignore_file_leaves_out_is_not_watched(context: Path) -> None:
    spec = BuildSpec(context=str(context))
    assert not any("node_modules" in path for path in walk(spec).whole)
    assert untold(spec, lambda: (context / "debug.log").write_text("x"), lambda: (context / "src/y").touch())
    assert untold(spec, lambda: (context / "node_modules/z").touch(), lambda: (context / "src/z").touch())


def test_a_context_elsewhere_is_nobodys_to_watch() -> None:
    assert walk(BuildSpec(context="https://example.org/shop.git")).places == {}


# with an engine

PAGE = 'FROM busybox\nCOPY page.txt /page\nCMD ["sh", "-c", "cat /page; exec sleep 1000000"]\n'


@pytest.mark.kernel
def test_an_edit_is_built_and_rolled_out_by_the_loop(machine: Machine, tmp_path: Path) -> None:
    files = tmp_path / "web"
    files.mkdir()
    (files / "Dockerfile").write_text(PAGE.replace("busybox", "under"))
    (files / "page.txt").write_text("one\n")
    below = tmp_path / "below"
    below.mkdir()
    (below / "u.txt").write_text("one\n")
    under = document("Image", "under", build={"context": str(below), "dockerfile_inline": "FROM busybox\nCOPY u.txt /"})
    built = document("Image", "app", build={"context": str(files)})
    web = document("Container", "web", image="app", network_mode="none", stop_grace_period="0s")
    machine.converge(machine.image + under + built + web)
    before = machine.process("web")
    with driven(machine.layout, LoopSettings(resync=3600.0)) as loop:
        (files / "page.txt").write_text("two\n")
        until(lambda: _runs_another(machine, before))
        before = machine.process("web")
        (below / "u.txt").write_text("two\n")
        until(lambda: _runs_another(machine, before))
        # one that fails leaves what runs, and the next edit is tried at once, whatever the pause
        image = read_image(machine.layout, "app")
        (files / "Dockerfile").write_text("FROM under\nCOPI page.txt /page\n")
        until(lambda: any("COPI" in str(values.get("error")) for _, values in loop.told))
        assert read_image(machine.layout, "app") == image
        (files / "Dockerfile").write_text(PAGE + "ENV FIXED=yes\n")
        until(lambda: "FIXED=yes" in (read_image(machine.layout, "app") or image).config.env)  # type: ignore[union-attr]


def _runs_another(machine: Machine, before: ProcessRecord) -> bool:
    now = read_process(machine.layout, "web")
    return now is not None and now.phase is Phase.RUNNING and now.pid != before.pid


COMPOSE = """\
services:
  web:
    build: web
    network_mode: none
    stop_grace_period: 0s
"""


@pytest.fixture
def shop(busybox_tree: Path) -> Iterator[Engine]:
    with making_engine() as engine:
        base = f"apiVersion: trimtab/v1\nkind: Image\nmetadata: {{name: busybox}}\nspec: {{rootfs: {busybox_tree}}}\n"
        (engine.base / "web").mkdir()
        for name, text in {"base.yaml": base, "compose.yaml": COMPOSE, "web/Dockerfile": PAGE}.items():
            (engine.base / name).write_text(text)
        (engine.base / "web/page.txt").write_text("one\n")
        engine.ok("apply", "--set", "base", "base.yaml")
        engine.ok("apply", "--set", "shop", "compose.yaml")
        yield engine


@pytest.mark.kernel
def test_from_an_edit_to_what_runs_with_the_daemon(shop: Engine) -> None:
    with daemon(shop):
        (shop.base / "web/page.txt").write_text("two\n")
        until(lambda: shop.run("logs", "web").lines == ["two"], seconds=30)
