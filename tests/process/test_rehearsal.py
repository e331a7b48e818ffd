"""An init that waits goes through the motions, and nothing comes of it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from runtime.process import rehearsal
from runtime.process.rehearsal import rehearse


def entries() -> set[str]:
    """Where a call that goes astray would leave something: the root, its /dev, the working directory."""
    return {str(path) for directory in ("/", "/dev", ".") for path in Path(directory).iterdir()}


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_it_leaves_nothing_behind_and_no_descriptor_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for scene in ("_hear_and_say", "_build_root", "_touch_file_system_calls"):
        before, opened = entries(), descriptors()
        getattr(rehearsal, scene)()
        assert not {path for path in entries() - before if "rehearsal" in path or "/" not in path}
        assert descriptors() == opened


@pytest.fixture
def shelter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_is_sheltered", lambda: True)


def test_nobody_rehearses_in_a_tree_that_is_not_a_shelter(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []
    for scene in ("_hear_and_say", "_build_root", "_touch_file_system_calls", "_become"):
        monkeypatch.setattr(rehearsal, scene, lambda: played.append("played"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        rehearse(theirs)
    assert played == []


@pytest.mark.usefixtures("shelter")
def test_who_is_asked_for_already_does_not_rehearse(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []
    for scene in ("_hear_and_say", "_build_root", "_touch_file_system_calls", "_become"):
        monkeypatch.setattr(rehearsal, scene, lambda: played.append("played"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(b"now")
        rehearse(theirs)
        assert played == []
        theirs.recv(3)
        rehearse(theirs)
        assert len(played) == 4


@pytest.mark.usefixtures("shelter")
def test_a_scene_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("a mistake of ours")

    for scene in ("_hear_and_say", "_build_root", "_touch_file_system_calls", "_become"):
        monkeypatch.setattr(rehearsal, scene, fail)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        rehearse(theirs)
