"""Room for neighbours: the limits of a table that all namespaces of the machine share, here in a directory instead."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runtime.network import sysctl
from runtime.network.endpoint import ensure_endpoint
from runtime.network.neighbours import ROOM, ensure_room
from tests.network.world import World, endpoint


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Those of IPv4 as a machine begins with them."""
    monkeypatch.setattr(sysctl, "_NET", str(tmp_path))
    directory = tmp_path / "ipv4/neigh/default"
    directory.mkdir(parents=True)
    for name, entries in (("gc_thresh1", 128), ("gc_thresh2", 512), ("gc_thresh3", 1024)):
        (directory / name).write_text(f"{entries}\n")
    return directory


def read(limits: Path) -> dict[str, int]:
    return {name: int((limits / name).read_text()) for name in ROOM}


def test_room_is_made_for_the_neighbours_of_thousands_of_containers(limits: Path) -> None:
    ensure_room(4)
    assert read(limits) == ROOM


def test_what_the_administrator_has_raised_further_stays(limits: Path) -> None:
    (limits / "gc_thresh3").write_text("1000000\n")
    ensure_room(4)
    assert read(limits) == ROOM | {"gc_thresh3": 1_000_000}


def test_where_there_are_no_limits_or_no_right_to_them_nothing_happens(
    limits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_room(6)

    def refuse(name: str, value: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(sysctl, "ensure_setting", refuse)
    ensure_room(4)
    assert read(limits)["gc_thresh3"] == 1024


@pytest.mark.kernel
@pytest.mark.parametrize("version", [4, 6])
def test_the_entry_of_a_containers_gateway_does_not_count_among_those_of_the_machine(
    world: World, version: int
) -> None:
    """The kernel exempts what is `extern_learn` from gc_thresh3: else the thousandth container could not be plugged."""
    web = world.machine("web")
    ensure_endpoint(world.layout, endpoint(world.network(), "web", 2), web.tid)
    gateway = {4: "10.1.0.1", 6: "fd01:1::1"}[version]
    assert "extern_learn" in web.run("ip", "neigh", "show", gateway)
