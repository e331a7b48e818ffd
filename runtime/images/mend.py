"""The small layer on top of a stack that mends what layers cannot know of each other while each is unpacked alone.

Implied directories: a layer's tar may hold `tmp/x` and say nothing of `tmp`, which then gets plain metadata; and
overlay shows a merged directory with those of the top-most layer that has it, so a sticky, world-writable /tmp of the
base would be lost. Whiteouts that hide nothing: overlay leaves them out only where it merges directories; in a
directory that one layer alone has, they would show as names that cannot be opened. Changing a layer's tree is no
answer, since other images share it over other bases. So an image that needs it gets one more layer, of empty
directories: those with the right metadata, and those that make overlay merge.

Called by `ensure_image` once all layers are unpacked. Reads their trees by descriptor, follows no links.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from runtime.images.blobs import BlobStore
from runtime.images.layers import LayerRecord, layer_tree
from runtime.images.tarwriter import Member, end, header, member_of, xattrs_of
from runtime.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from runtime.layout import Layout

_PLAIN_MODE = 0o755
_DIRECTORY = b"5"


def add_mending_layer(layout: Layout, store: BlobStore, layers: Sequence[LayerRecord]) -> str:
    """Keep the tar of the mending layer that this stack (lowest first) needs; its diffID, or "" where it needs none."""
    members = mending_members(layout, layers)
    if not members:
        return ""
    return store.add(b"".join([*(header(member) for member in members), end()]))


def mending_members(layout: Layout, layers: Sequence[LayerRecord]) -> list[Member]:
    """The directories to put on top of the stack, parents first; empty where no metadata would be lost."""
    stack = list({layer.diff_id: layer for layer in reversed(layers)}.values())
    if not any(layer.implied for layer in stack[:-1]) and not any(layer.hiding for layer in stack):
        return []
    with ExitStack() as opened:
        trees = []
        for layer in stack:
            fd = os.open(layer_tree(layout, layer.diff_id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, fd)
            trees.append(fd)
        search = _Search(
            trees,
            [frozenset(layer.implied) for layer in stack],
            [frozenset(layer.hiding) for layer in stack],
        )
        search.visit("", list(range(len(stack))))
    wanted = {above for path in search.lost for above in with_ancestors(path)}
    return [search.found[path] for path in sorted(wanted)]


def with_ancestors(path: str) -> list[str]:
    """`a/b` -> `""`, `a`, `a/b`: the top first."""
    parts = path.split("/") if path else []
    return ["/".join(parts[:count]) for count in range(len(parts) + 1)]


@dataclass(slots=True)
class _Search:
    """One walk down the directories in question, each with the layers (highest first) that merge there."""

    trees: Sequence[int]
    implied: Sequence[frozenset[str]]
    hiding: Sequence[frozenset[str]]
    found: dict[str, Member] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    children: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for paths in (*self.implied, *self.hiding):
            for path in paths:
                while path and path not in self.children.setdefault(path.rpartition("/")[0], set()):
                    self.children[path.rpartition("/")[0]].add(path)
                    path = path.rpartition("/")[0]

    def visit(self, path: str, merged: Sequence[int]) -> None:
        said = next((index for index in merged if path not in self.implied[index]), merged[0])
        member = self._member(said, path)
        self.found[path] = member
        is_metadata_lost = said != merged[0] and not _is_plain(member)
        is_whiteout_seen = len(merged) == 1 and path != "" and path in self.hiding[merged[0]]
        if is_metadata_lost or is_whiteout_seen:
            self.lost.append(path)
        for child in sorted(self.children.get(path, ())):
            if below := self._merged(child, merged):
                self.visit(child, below)

    def _merged(self, path: str, above: Sequence[int]) -> list[int]:
        """Layers whose directory at `path` overlay joins: down to the first that hides the rest."""
        merged: list[int] = []
        for index in above:
            try:
                fd = self._open(index, path)
            except FileNotFoundError:
                continue
            except OSError:  # a file, a link, a whiteout
                break
            merged.append(index)
            try:
                if is_opaque(fd):
                    break
            finally:
                os.close(fd)
        return merged

    def _member(self, index: int, path: str) -> Member:
        fd = self._open(index, path)
        try:
            name = os.fsencode(f"{path}/" if path else "./")
            return member_of(name, _DIRECTORY, os.fstat(fd), xattrs_of(fd))
        finally:
            os.close(fd)

    def _open(self, index: int, path: str) -> int:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
        return openat2(self.trees[index], path or ".", os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)


def is_opaque(fd: int) -> bool:
    """Whether overlay hides what lies below this directory."""
    try:
        return os.getxattr(fd, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _is_plain(member: Member) -> bool:
    """What an implied directory has anyway; its time alone is no reason for one more layer."""
    return (stat.S_IMODE(member.mode), member.uid, member.gid, member.xattrs) == (_PLAIN_MODE, 0, 0, ())
