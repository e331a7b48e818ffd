"""Any tree survives the way through a tar and back; any damage to a tar is refused or harmless."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.images.limits import Limits
from runtime.images.tarwriter import write_tree
from runtime.images.unsound import Unsound
from tests.images.trees import directory, file, hard_link, listing, names, symlink, tar_of
from tests.images.unpacking import extract

pytestmark = pytest.mark.kernel

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..") and not name.startswith(b".wh.")
)
LONG_NAMES = st.builds(lambda name, count: (name * 255)[:count], NAMES, st.integers(90, 255))
MODES = st.integers(0, 0o7777)
OWNERS = st.one_of(st.sampled_from([0, 1000, 65534]), st.integers(0, 2**32 - 2))
TIMES = st.integers(-(2**31) + 1, 2**33)


@dataclass(frozen=True, slots=True)
class Node:
    """One thing in a tree: its name below `parent`, a number into the directories made so far."""

    parent: int
    name: bytes
    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    content: bytes
    xattr: bytes


NODES = st.builds(
    Node,
    parent=st.integers(0, 30),
    name=st.one_of(NAMES, LONG_NAMES),
    kind=st.sampled_from(["directory", "directory", "file", "file", "link", "again", "fifo"]),
    mode=MODES,
    owner=st.tuples(OWNERS, OWNERS),
    mtime=TIMES,
    content=st.one_of(st.binary(max_size=40), st.builds(lambda size: b"x" * size, st.integers(400, 2000))),
    xattr=st.binary(max_size=20),
)


def make(top: bytes, nodes: list[Node]) -> None:
    """The tree on disk, by plain calls. What clashes with an earlier name, or is too long a path, is left out."""
    directories: list[bytes] = [top]
    files: list[bytes] = []
    made: list[tuple[bytes, Node]] = []
    for node in nodes:
        path = directories[node.parent % len(directories)] + b"/" + node.name
        if os.path.lexists(path) or len(path) > 3000:
            continue
        if node.kind == "directory":
            os.mkdir(path)  # noqa: PTH102 (a name of bytes)
            directories.append(path)
        elif node.kind == "link":
            os.symlink(node.content.replace(b"\0", b"") or b"nowhere", path)  # noqa: PTH211
        elif node.kind == "again" and files:
            os.link(files[node.mode % len(files)], path)
            continue
        elif node.kind == "fifo":
            os.mkfifo(path)
        else:
            with open(path, "wb") as made_file:  # noqa: PTH123 (a name of bytes)
                made_file.write(node.content)
            files.append(path)
        made.append((path, node))
    for path, node in reversed(made):
        dress(path, node)
    os.utime(top, (77, 77))


def dress(path: bytes, node: Node) -> None:
    os.chown(path, *node.owner, follow_symlinks=False)
    if node.kind != "link":
        os.chmod(path, node.mode)  # noqa: PTH101 (a name of bytes)
    if node.kind in ("file", "directory") and node.xattr:
        os.setxattr(path, b"user.hypothesis", node.xattr)
    os.utime(path, (node.mtime, node.mtime), follow_symlinks=False)


@contextmanager
def places() -> Iterator[tuple[Path, Path]]:
    """A source tree's directory, and one to unpack in."""
    with tempfile.TemporaryDirectory(prefix="tt-") as place:
        (Path(place) / "source").mkdir()
        (Path(place) / "target").mkdir()
        yield Path(place) / "source", Path(place) / "target"


@settings(max_examples=60, deadline=None)
@given(st.lists(NODES, max_size=25))
def test_a_tree_written_by_our_writer_comes_back_the_same(nodes: list[Node]) -> None:
    with places() as (source, target):
        make(os.fsencode(source), nodes)
        content = bytearray()
        write_tree(source, content.extend)
        extract(bytes(content), target)
        assert listing(target / "tree") == listing(source)
        again = bytearray()
        write_tree(target / "tree", again.extend)
        assert again == content


@settings(max_examples=60, deadline=None)
@given(st.lists(NODES, max_size=25), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_a_tree_written_by_the_standard_library_comes_back_the_same(nodes: list[Node], form: int) -> None:
    nodes = [without_xattr(node) for node in nodes if node.mtime >= 0]
    with places() as (source, target):
        make(os.fsencode(source), nodes)
        with tarfile.open(target / "made.tar", "w", format=form, errors="surrogateescape") as archive:
            archive.add(source, ".")
        extract((target / "made.tar").read_bytes(), target)
        assert listing(target / "tree") == listing(source)


def without_xattr(node: Node) -> Node:
    return Node(node.parent, node.name, node.kind, node.mode, node.owner, node.mtime, node.content, b"")


ZOO = [
    tar_of(
        directory("a", mtime=1.5),
        file("a/b", b"content", uid=70000, mtime=2.25),
        symlink("l", "../../outside"),
        hard_link("h", "a/b"),
        file("a/" + "long" * 40, b"x" * 700),
        file("a/.wh.c"),
        file("d/.wh..wh..opq"),
        file("l/x", b"through"),
        form=form,
    )
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
]
SPOTS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=12)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(ZOO), SPOTS, st.booleans(), st.one_of(st.none(), st.integers(0, 20_000)))
def test_a_damaged_archive_is_refused_or_harmless(
    whole: bytes, spots: list[tuple[int, int]], mend_sums: bool, cut: int | None
) -> None:
    """With checksums made right again, the lies get past the first door."""
    content = bytearray(whole)
    for offset, value in spots:
        content[offset % len(content)] = value
    if mend_sums:
        for start in range(0, len(content), 512):
            if whole[start + 257 : start + 262] == b"ustar":
                block = content[start : start + 512]
                block[148:156] = b" " * 8
                content[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    with places() as (outside, target):
        (outside / "secret").write_text("untouched")
        before = listing(outside)
        with suppress(Unsound):
            extract(bytes(content[:cut]), target, Limits(bytes=1 << 20))
        assert listing(outside) == before
        assert names(target) == ["content", "tree"]
        for path in (target / "tree").rglob("*"):
            assert not stat.S_ISBLK(path.lstat().st_mode)
