"""The state file is lost or damaged, under a daemon and between two: containers run on, and it is said."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import daemon
from tests.daemon.test_life import SOLO, pid_of

pytestmark = pytest.mark.kernel


@pytest.fixture
def solo(busybox_tree: Path) -> Iterator[Engine]:
    """An engine with one container applied and a directory that asks for it, no daemon."""
    with making_engine() as engine:
        directory = engine.base / "manifests"
        directory.mkdir()
        text = shop_manifest(busybox_tree).partition("---")[0] + SOLO
        (directory / "solo.yaml").write_text(text)
        engine.ok("-H", "none", "apply", "--set", "manifests", str(directory))
        yield engine


def remove(store: Path) -> None:
    for each in store.parent.glob("state.db*"):
        each.unlink()


def scribble(store: Path) -> None:
    remove(store)
    store.write_bytes(b"not a database at all " * 400)


@pytest.mark.parametrize(("harm", "word"), [(remove, "was lost"), (scribble, "was damaged")])
def test_a_daemon_that_starts_without_its_state_adopts_what_runs(
    solo: Engine, harm: Callable[[Path], None], word: str
) -> None:
    before, directory = pid_of(solo), str(solo.base / "manifests")
    with daemon(solo, "--source", directory) as first:
        first.end(signal.SIGKILL)
    harm(solo.layout.store)
    with daemon(solo, "--source", directory) as second:
        second.wait_log(word)
        assert solo.run("diff", "--set", "manifests", directory).code == 0
        assert "StateRestored" in solo.ok("events").out
        solo.ok("wait", "container/solo", "--for", "sync=Synced")
    assert pid_of(solo) == before


def test_a_state_file_that_is_taken_from_a_living_daemon_is_there_again(solo: Engine) -> None:
    before, directory = pid_of(solo), str(solo.base / "manifests")
    with daemon(solo, "--source", directory) as running:
        running.wait_log('"Ready"')  # else it may have the file open that is taken
        remove(solo.layout.store)
        said = solo.run("diff", "--set", "manifests", directory)
        assert said.code == 0
        if "was lost" not in said.err:  # whoever of the two opens it first says so
            running.wait_log("was lost")
        assert solo.layout.store.exists()
    assert pid_of(solo) == before


def test_a_command_says_what_it_found_and_goes_on(solo: Engine) -> None:
    before = pid_of(solo)
    scribble(solo.layout.store)
    said = solo.run("-H", "none", "diff", "--set", "manifests", str(solo.base / "manifests"))
    assert said.code == 0
    assert "warning: The state file was damaged" in said.err and ".damaged-" in said.err
    assert "warning" not in solo.run("-H", "none", "get").err
    assert pid_of(solo) == before
