"""Taking an engine away: `system stop`, `volume rm`, and what `delete` says of what it leaves."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path

import pytest

from reconciler.daemon.single import only_daemon
from runtime.network.dns.process import read_dns
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine

pytestmark = pytest.mark.kernel


@pytest.fixture
def own(engine: Engine, busybox_tree: Path) -> Engine:
    """An engine with SHOP applied, for this test alone."""
    engine.write("shop.yaml", shop_manifest(busybox_tree))
    engine.ok("apply", "--set", "shop", "shop.yaml")
    return engine


def launcher_state(engine: Engine) -> str:
    return str(json.loads(engine.ok("system", "info", "-o", "json").out)["launcher"]["state"])


def test_an_engine_is_taken_away_step_by_step(own: Engine) -> None:
    said = own.run("system", "stop")
    assert said.code == 2
    assert "stop: containers run: db, web-1, web-2; `trimtab delete` them first" in said.err
    assert launcher_state(own) == "running"

    deleted = own.ok("delete", "--set", "shop")
    kept = own.layout.volumes / "pages/_data"
    note = f"note: Volume/pages is deleted, its data is kept in {kept}; `trimtab volume rm pages` deletes that too"
    assert note in deleted.err.splitlines()
    assert "- Container/db delete: deletion was asked for" in deleted.out
    events = own.ok("events", "container/db").out
    assert "Deleted: deletion was asked for" in events and "no longer in the manifests" not in events

    stopped = own.ok("system", "stop")
    assert stopped.lines == [
        "No DNS server ran.",
        "The launcher has ended.",
        f"{own.layout.secrets} is unmounted.",
    ]
    assert launcher_state(own).startswith("not running")
    assert not read_dns(own.layout).alive


def test_nothing_is_stopped_under_a_daemon(engine: Engine) -> None:
    with only_daemon(engine.layout.daemon_lock):
        said = engine.run("system", "stop", "--force")
    assert said.code == 2
    assert f"stop: a daemon works on this root already: process {os.getpid()} (" in said.err
    assert "start the daemon" not in said.err


def test_containers_go_on_when_the_engine_is_stopped_by_force(own: Engine) -> None:
    said = own.ok("system", "stop", "--force")
    assert said.lines[0] == "The DNS server has ended."
    assert said.lines[-1] == "3 containers go on, but find nobody by name until the next apply."
    assert "running" in own.ok("get", "container/db").out
    own.ok("apply", "--set", "shop", "shop.yaml")
    assert read_dns(own.layout).alive


def test_kept_data_goes_when_somebody_says_so(own: Engine) -> None:
    used = own.run("volume", "rm", "--yes", "pages")
    assert (used.code, used.err) == (2, "trimtab: remove: Volume/pages is used by Container/db; delete that first\n")
    own.ok("delete", "--set", "shop")
    data = own.layout.volumes / "pages/_data"
    (data / "page").write_text("x" * 10_000)
    assert "kept" in own.ok("volume", "ls").out

    unasked = own.run("volume", "rm", "pages")
    assert (unasked.code, unasked.err) == (
        2,
        "trimtab: remove: the data of pages would go for good; give --yes if that is meant\n",
    )
    assert (data / "page").exists()
    assert own.ok("volume", "rm", "--yes", "volume/pages").out == "- Volume/pages deleted with its data\n"
    assert not data.exists()
    assert own.run("volume", "rm", "--yes", "pages").err.startswith("trimtab: there is no Volume/pages")


def test_a_declared_volume_is_not_taken_away(engine: Engine) -> None:
    engine.write("a.yaml", "apiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: data}\n")
    engine.ok("apply", "--set", "shop", "a.yaml")
    said = engine.run("volume", "rm", "--yes", "data")
    assert said.code == 2
    assert "Volume/data is declared by the set shop" in said.err and "`trimtab delete` it first" in said.err


@pytest.mark.parametrize(("answer", "stays"), [("n", True), ("y", False)])
def test_on_a_terminal_it_is_asked_and_told_what_goes(answer: str, stays: bool, engine: Engine) -> None:
    data = engine.layout.volumes / "old/_data"
    data.mkdir(parents=True)
    (data / "page").write_text("x" * 10_000)
    terminal, inside = pty.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        said = engine.start("volume", "rm", "old", stdin=inside).wait()
    finally:
        os.close(terminal)
        os.close(inside)
    assert f"KiB in {data}" in said.out and "Delete this for good? [y/N]" in said.out
    assert data.exists() == stays
    assert said.code == (130 if stays else 0)
