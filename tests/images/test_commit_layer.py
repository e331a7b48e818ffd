"""A container's writable directory as a layer: whiteouts, attributes, links, nodes; and no walk of the image."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.images.changes import read_changes
from runtime.images.commit import CommitWanted, commit, write_changes
from runtime.images.config import ImageConfig
from runtime.images.ensure import ensure_image
from runtime.images.layers import TREE, layer_path
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from tests.images.trees import listing

OPAQUE = "trusted.overlay.opaque"
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_bind_service, as setcap(8) writes it."""


def put_changes(upper: Path) -> None:
    """As overlay leaves them: a deletion, a directory made anew, and one of everything else."""
    (upper / "etc").mkdir(parents=True)
    os.mknod(upper / "etc" / "gone", stat.S_IFCHR, 0)
    (upper / "turned").mkdir()
    os.setxattr(upper / "turned", OPAQUE, b"y")
    (upper / "turned" / "new").write_text("new")
    (upper / "made").mkdir(mode=0o1777)
    (upper / "made").chmod(0o1777)
    program = upper / "made" / "program"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o4755)
    os.chown(program, 7, 8)
    program.chmod(0o4755)
    os.setxattr(program, "user.told", b"\x00\xff")
    os.setxattr(program, "security.capability", CAPABILITY)
    os.link(program, upper / "made" / "twin")
    (upper / "made" / "link").symlink_to("/etc/passwd")
    os.mknod(upper / "made" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(upper / "made" / "pipe")
    (upper / "made" / os.fsdecode(b"no\xffutf8")).write_text("x")
    for path in upper.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)


def kept(tree: Path) -> list[tuple[object, ...]]:
    """All but the top and the mark of a deletion, whose time is nobody's."""
    return [line for line in listing(tree)[1:] if line[0] != b"/etc/gone"]


@pytest.mark.kernel
def test_a_commit_keeps_attributes_links_and_nodes_and_writes_whiteouts(layout: Layout, tmp_path: Path) -> None:
    rootfs, upper = tmp_path / "rootfs", tmp_path / "upper"
    for name in ("etc", "turned"):
        (rootfs / name).mkdir(parents=True)
        (rootfs / name / "gone").write_text("gone")
    base = ensure_image(layout, ImageWanted("base", rootfs=rootfs))
    put_changes(upper)
    record = commit(layout, CommitWanted("made", "web", base, upper, ImageConfig()))
    assert record.layers[:-1] == base.layers
    with tarfile.open(layout.blobs / record.blobs[-1].digest.replace(":", "/")) as layer:
        members = {member.name: member for member in layer}
    assert {"etc/.wh.gone", "turned/.wh..wh..opq", "turned/new"} <= set(members)
    assert members["made/twin"].islnk() and members["made/null"].ischr() and members["made/pipe"].isfifo()
    tree = layer_path(layout, record.layers[-1]) / TREE
    assert kept(tree) == kept(upper)
    assert stat.S_ISCHR((tree / "etc/gone").lstat().st_mode) and os.getxattr(tree / "turned", OPAQUE) == b"y"
    assert os.getxattr(tree / "made/program", "security.capability") == CAPABILITY
    assert (tree / "made/program").stat().st_ino == (tree / "made/twin").stat().st_ino


def test_changes_are_read_without_a_walk_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers, upper = [tmp_path / "high", tmp_path / "low"], tmp_path / "upper"
    for layer in layers:
        for number in range(40):
            (layer / "usr" / f"d{number}").mkdir(parents=True)
            (layer / "usr" / f"d{number}" / "file").write_text("x")
    (upper / "usr" / "d7").mkdir(parents=True)
    (upper / "usr" / "d7" / "new").write_text("x")
    (upper / "usr" / "d7" / "file").write_text("y")
    listed: list[str] = []
    monkeypatch.setattr(os, "listdir", _noting(listed, os.listdir))
    monkeypatch.setattr(os, "scandir", _forbidden)
    found = [change.describe() for change in read_changes(upper, layers)]
    assert found == ["C /usr", "C /usr/d7", "C /usr/d7/file", "A /usr/d7/new"]
    assert listed == [str(upper), str(upper / "usr"), str(upper / "usr" / "d7")]


def _noting(listed: list[str], honest: Callable[[int], list[str]]) -> Callable[[int], list[str]]:
    def list_directory(fd: int) -> list[str]:
        listed.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        return honest(fd)

    return list_directory


def _forbidden(*_: object) -> None:
    raise AssertionError("a directory of the image was walked")


def test_equal_changes_give_equal_layers(tmp_path: Path) -> None:
    content = []
    for name in ("one", "two"):
        upper = tmp_path / name
        for entry in ("b", "a"):
            (upper / entry).mkdir(parents=True)
            (upper / entry / "file").write_text(entry)
        for path in (*upper.rglob("*"), upper):
            os.utime(path, (1_600_000_000, 1_600_000_000))
        pieces: list[bytes] = []
        write_changes(upper, read_changes(upper, []), pieces.append)
        content.append(b"".join(pieces))
    assert content[0] == content[1]
