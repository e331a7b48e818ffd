"""Who serves a volume may be gone: a mount that nobody answers holds the engine up for a limited time, or not at all.

A FUSE file system whose server reads no request waits in the kernel just as NFS does, on every machine.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel import mount
from runtime.layout import Layout
from runtime.volumes import mounting, remote
from runtime.volumes.options import NFS_VERSIONS, MountWanted, versions
from runtime.volumes.populate import hand_over
from runtime.volumes.records import MadeMount, VolumeRecord, VolumeWanted, write_record
from runtime.volumes.volume import ensure_volume, read_volume, remove_volume, require_answer, volume_path
from schemas.errors import Refused, RetryLater
from tests.conftest import SLOWER

pytestmark = pytest.mark.kernel


@pytest.fixture
def silent(layout: Layout) -> Iterator[Path]:
    """The directory of a volume `share`, mounted from a server that never answers."""
    data = ensure_volume(layout, VolumeWanted("share")).path
    channel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        words = f"fd={channel},rootmode=40000,user_id=0,group_id=0"
        mount.mount("somewhere", str(data), "fuse", data=words)
        seen = mounting.seen_at(data)
        assert seen is not None
        options = {"type": "fuse", "device": "somewhere"}
        write_record(data.parent, VolumeRecord(driver_opts=options, mounted=MadeMount.of(seen)))
        yield data
    finally:
        # whoever still waits in the kernel is let go
        os.close(channel)


def test_a_volume_is_read_without_a_word_of_its_server(layout: Layout, silent: Path) -> None:
    observed = read_volume(layout, "share")
    assert observed is not None
    assert (observed.present, observed.mounted, observed.drift) == (True, True, ())


def test_a_server_that_does_not_answer_is_told_in_time(
    layout: Layout, silent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 0.5 * SLOWER)
    began = time.monotonic()
    with pytest.raises(RetryLater, match=r"Volume/share ask its server: .*fuse somewhere: no answer within"):
        require_answer(layout, "share")
    assert time.monotonic() - began < 20 * SLOWER


def test_a_volume_that_nobody_answers_for_is_deleted(layout: Layout, silent: Path) -> None:
    remove_volume(layout, "share", delete_data=True)
    assert read_volume(layout, "share") is None
    assert mounting.seen_at(silent) is None


def test_a_plain_volume_asks_nobody(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_volume(layout, VolumeWanted("plain"))
    monkeypatch.setattr(remote, "look", lambda target: pytest.fail(f"asked {target}"))
    require_answer(layout, "plain")


def test_a_server_that_refuses_connections_is_told_and_tried_again(layout: Layout) -> None:
    with socket.socket() as taken:
        # bound and not listening: nobody else gets the port meanwhile
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        wanted = VolumeWanted("far", {"type": "nfs", "o": f"addr=127.0.0.1,port={port}", "device": ":/share"})
        with pytest.raises(RetryLater, match=rf"nobody answers at 127\.0\.0\.1 port {port}: Connection refused"):
            ensure_volume(layout, wanted)
    observed = read_volume(layout, "far")
    assert observed is not None
    assert observed.drift == ("not mounted",)


@pytest.mark.parametrize("words", ["vers=3", "nfsvers=3", "v3", "vers=4.2,proto=udp", "proto=rdma"])
def test_a_port_that_is_not_known_is_not_tried(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *place: pytest.fail(f"tried {place}"))
    remote.reach(dict(word.partition("=")[::2] for word in f"addr=127.0.0.1,{words}".split(",")))


@pytest.mark.parametrize(
    ("fstype", "options", "tried"),
    [
        ("nfs", {"rw": None}, NFS_VERSIONS),
        ("nfs4", {}, ("4.2", "4.1", "4.0")),
        ("nfs", {"vers": "3"}, None),
        ("nfs", {"nfsvers": "4"}, None),
        ("nfs", {"v4.1": None}, None),
        ("nfs4", {"minorversion": "1"}, None),
        ("cifs", {}, None),
    ],
)
def test_a_version_that_is_not_named_is_found(
    fstype: str, options: dict[str, str | None], tried: tuple[str, ...] | None
) -> None:
    found = versions(MountWanted(fstype, ":/share", options=options))
    assert found == (({},) if tried is None else tuple({"vers": each} for each in tried))


def test_an_unknown_option_is_told_in_the_kernels_words(layout: Layout) -> None:
    """The child's errors come across. Mounts nothing: 9p wants no server to refuse a transport that is none."""
    wanted = VolumeWanted("odd", {"type": "9p", "o": "trans=none-of-them", "device": "odd"})
    with pytest.raises((Refused, RetryLater), match="9p odd: "):
        ensure_volume(layout, wanted)
    assert mounting.seen_at(volume_path(layout, "odd")) is None


def test_a_server_that_trusts_no_root_keeps_who_owns_its_files(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_volume(layout, VolumeWanted("share", {"type": "tmpfs"}))

    def squashed(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patched:
        patched.setattr(os, "chown", squashed)
        assert hand_over(layout, "share", 100_000) is False
    assert hand_over(layout, "share", 100_000) is True
    assert volume_path(layout, "share").stat().st_uid == 100_000
