"""Through a daemon, somebody at a terminal sees and does the same; and the command imports next to nothing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from reconciler.cli.commands import FIRST, MORE
from reconciler.client.remote_commands import HERE, NOWHERE, READERS, WRITERS
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine, plain_environment
from tests.cli.test_exec import Terminal
from tests.cli.test_startup import WATCH
from tests.daemon.running import daemon
from tests.daemon.test_life import SOLO, wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def served(busybox_tree: Path) -> Iterator[Engine]:
    with making_engine() as engine:
        image = shop_manifest(busybox_tree).partition("---")[0]
        many = "".join(SOLO.replace("name: solo", f"name: many{number}") for number in range(20))
        engine.write("many.yaml", image + many)
        with daemon(engine):
            yield engine


def test_a_terminal_shows_rows_that_move_and_keeps_the_lines(served: Engine) -> None:
    terminal = Terminal(served.command("apply", "--set", "many", str(served.base / "many.yaml")), 30, 100)
    try:
        terminal.read_until("\x1b[?25l")
        kept = b""
        while b"Applied: " not in kept:
            terminal.read_until("\n")
            kept += b"\n" + terminal.last
        assert terminal.process.wait(30) == 0
    finally:
        terminal.close()
    assert b"Container/many7 create" in kept and b"\x1b[32m" in kept


def test_ctrl_c_lets_what_is_under_way_finish_and_skips_the_rest(served: Engine) -> None:
    applying = served.start("apply", "--parallel", "1", "--set", "many", "many.yaml")
    wait_until(lambda: "Container/many" in applying.so_far().out)
    applying.interrupt()
    said = applying.wait()
    assert said.code == 130
    assert "interrupted: what is under way is finished" in said.err and "the next apply does the rest" in said.err
    assert "skipped" in said.out + said.err
    assert served.ok("apply", "--set", "many", "many.yaml").code == 0


@pytest.mark.parametrize("words", [["diff", "--set", "x", "many.yaml"], ["get"], ["apply", "--dry-run", "many.yaml"]])
def test_a_command_that_a_daemon_carries_out_imports_nothing_heavy(served: Engine, words: list[str]) -> None:
    places = ["--root", str(served.layout.root), "--run", str(served.layout.run)]
    watch = WATCH.replace("'rich'", "'rich', 'hashlib', 'http.client', 'ssl', 'dataclasses', 'click', 'typing'")
    done = subprocess.run(
        [sys.executable, "-c", watch, *places, *words],
        env=plain_environment(),
        cwd=served.base,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done
    assert json.loads(done.stderr.splitlines()[-1].removeprefix("No objects.")) == []


def test_every_command_says_where_it_is_done() -> None:
    """A new one that is forgotten would be done here, whatever host is meant."""
    for name in (*FIRST, *MORE):
        command = importlib.import_module(f"reconciler.cli.{name}_command").command
        names = [f"{name} {each}" for each in command.commands] if isinstance(command, click.Group) else [name]
        for each in names:
            assert sum(each in places for places in (WRITERS, READERS, NOWHERE, HERE)) == 1, each


def test_what_is_asked_before_is_not_done_elsewhere_unasked(served: Engine) -> None:
    elsewhere = f"unix://{served.layout.api_socket}"
    said = served.run("-H", elsewhere, "system", "prune")
    assert said.code == 2 and "--yes" in said.err
    assert served.ok("-H", elsewhere, "system", "prune", "--yes").code == 0
    assert served.run("-H", elsewhere, "image", "build", ".").code == 2
