"""Layers from blobs: each unpacked once, by diffID, several at the same time, each in a short-lived child.

Called by whatever makes images (registry, archives, root file systems). A layer is unpacked beside its place; when
its tree is whole, the file system is flushed and the layer appears by one rename. A kill at any moment leaves whole
layers and partials; a partial is locked while its maker lives, and removed by the next who needs it or by the
collector. Two makers of one layer: the second waits and takes what the first made.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from runtime.images.blobs import Keeper, disk_error, full_disk_is_retried, sync_directory
from runtime.images.layers import (
    BROKEN,
    PARTIAL,
    TREE,
    LayerRecord,
    layer_damage,
    layer_path,
    read_layer,
    write_record,
)
from runtime.images.limits import Limits
from runtime.images.locks import is_same_file, lock
from runtime.images.places import Places
from runtime.kernel.syncfs import syncfs
from runtime.layout import Layout
from schemas.errors import Refused, RetryLater, TrimtabError

_CORES = os.cpu_count() or 1
_PLACES = Places(_CORES)
"""As many children as cores; a layer whose files are being flushed leaves its place to the next."""
_PROGRAM = (
    f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); "
    "from runtime.images.unpack_child import main; sys.exit(main())"
)
_CHILD = (sys.executable, "-I", "-c", _PROGRAM)
"""Isolated: neither the environment nor the current directory says what is imported."""


@dataclass(frozen=True, slots=True)
class LayerWanted:
    """A layer to be there: its blob's file, and its diffID unless only unpacking can tell."""

    blob: Path
    diff_id: str | None
    name: str = ""
    """For progress and complaints: the blob's digest."""


LayerReport = Callable[[str, int, int], None]
"""Name of the layer, bytes of its blob read, bytes of its blob."""


def ensure_layers(
    layout: Layout,
    wanted: Sequence[LayerWanted],
    limits: Limits,
    keeper: Keeper,
    report: LayerReport = lambda *_: None,
) -> tuple[LayerRecord, ...]:
    """Every layer unpacked, in the order given, several at a time. Raises as `ensure_layer`, the first failure."""
    layers = list(dict.fromkeys(wanted))  # an image may name one layer twice
    if not layers:
        return ()
    with ThreadPoolExecutor(max_workers=min(len(layers), 2 * _CORES), thread_name_prefix="unpack") as pool:
        futures = {layer: pool.submit(ensure_layer, layout, layer, limits, keeper, report) for layer in layers}
    return tuple(futures[layer].result() for layer in wanted)


def ensure_layer(
    layout: Layout, wanted: LayerWanted, limits: Limits, keeper: Keeper, report: LayerReport = lambda *_: None
) -> LayerRecord:
    """The layer unpacked and durable, and kept from the collector by `keeper`.

    Raises Refused (it is unsound), RetryLater (the disk is full, the blob gone).
    """
    if wanted.diff_id:
        keeper.add(wanted.diff_id)
    if (there := _sound(layout, wanted.diff_id)) is not None:
        return there
    with full_disk_is_retried(layout.layers):
        layout.layers.mkdir(parents=True, exist_ok=True, mode=0o700)
        place, fd = _claim(layout, wanted)
    try:
        if (there := _sound(layout, wanted.diff_id)) is not None:
            return there  # whoever had it made it while we waited
        with _PLACES.held(_size(wanted.blob)):
            made = _unpack(place, fd, wanted, limits, report)
        diff_id = str(made["diff_id"])
        if wanted.diff_id not in (None, diff_id):
            raise Refused(
                f"the layer unpacks to {diff_id}, and the image says {wanted.diff_id}",
                object=wanted.name,
                step="unpack",
                hint="the image is damaged where it comes from",
            )
        keeper.add(diff_id)
        with full_disk_is_retried(place):
            return _publish(layout, place, write_record(place, diff_id, made))
    finally:
        if is_same_file(fd, place):
            shutil.rmtree(place, ignore_errors=True)
        os.close(fd)


def _size(blob: Path) -> int:
    try:
        return blob.stat().st_size
    except FileNotFoundError:
        return 0


def _sound(layout: Layout, diff_id: str | None) -> LayerRecord | None:
    if diff_id is None or layer_damage(layout, diff_id) is not None:
        return None
    return read_layer(layout, diff_id)


def _claim(layout: Layout, wanted: LayerWanted) -> tuple[Path, int]:
    """An empty directory for this layer, locked; waits while another maker has it."""
    name = layer_path(layout, wanted.diff_id).name if wanted.diff_id else f"new-{secrets.token_hex(8)}"
    place = layout.layers / f"{name}{PARTIAL}"
    while True:
        place.mkdir(mode=0o700, exist_ok=True)
        try:
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        lock(fd, wait=True)
        if is_same_file(fd, place):
            break
        os.close(fd)
    for left in place.iterdir():
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    (place / TREE).mkdir(mode=0o755)
    return place, fd


def _unpack(place: Path, lock_fd: int, wanted: LayerWanted, limits: Limits, report: LayerReport) -> dict[str, object]:
    """Let a child fill the tree; it shares our lock, so that the partial is its own should we be killed."""
    try:
        blob = os.open(wanted.blob, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise RetryLater(
            "the layer's blob is gone", object=wanted.name, step="unpack", path=str(wanted.blob)
        ) from error
    tree = os.open(place / TREE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    size = os.fstat(blob).st_size
    order = json.dumps({"blob": blob, "tree": tree, "limits": asdict(limits)})
    try:
        with subprocess.Popen(
            _CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(blob, tree, lock_fd), text=True
        ) as child:
            assert child.stdin and child.stdout
            child.stdin.write(order)
            child.stdin.close()
            last = _listen(child.stdout, lambda done: report(wanted.name, done, size))
    finally:
        os.close(blob)
        os.close(tree)
    if last is None or child.returncode:
        raise RetryLater(
            f"the unpacking process ended with status {child.returncode}", object=wanted.name, step="unpack"
        )
    if "diff_id" not in last:
        raise _failure(last, wanted, place)
    return last


def _listen(lines: IO[str], report: Callable[[int], None]) -> dict[str, object] | None:
    """Pass progress on; returns the last line when it is a verdict."""
    verdict: dict[str, object] | None = None
    for line in lines:
        said = json.loads(line)
        if "done" in said:
            report(said["done"])
        else:
            verdict = said
    return verdict


def _failure(said: dict[str, object], wanted: LayerWanted, place: Path) -> TrimtabError:
    if "refused" in said:
        return Refused(
            str(said["refused"]),
            object=wanted.name,
            step="unpack",
            path=str(said["path"]),
            hint=str(said["hint"]) or "the image is damaged or hostile; nothing of this layer was kept",
        )
    return disk_error(OSError(said["errno"], said["message"]), place)


def _publish(layout: Layout, place: Path, record: LayerRecord) -> LayerRecord:
    """All of it durable first, then there by one rename."""
    syncfs(layout.layers)
    target = layer_path(layout, record.diff_id)
    if (there := _sound(layout, record.diff_id)) is not None:
        return there  # another maker, who did not know the diffID beforehand either
    if os.path.lexists(target):
        # a running container may still stand on it: the collector decides when it goes
        target.rename(target.with_name(f"{target.name}{BROKEN}-{secrets.token_hex(4)}"))
    place.rename(target)
    sync_directory(layout.layers)
    return record
