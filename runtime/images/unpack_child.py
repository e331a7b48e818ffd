"""The short-lived process that unpacks one layer: an isolated interpreter that calls `main`, made by `unpack`.

Reads a layer's blob from one descriptor, makes its tree in the directory of another, with the root directory changed
to it before the first hostile byte is read. Standard input holds what to do; standard output gets one JSON line per
step and one at the end. A lost parent shows as a broken pipe, and ends it. Nothing can be imported once the root is
changed. Renames nothing.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.images.extract import Extractor
from runtime.images.limits import Limits
from runtime.images.tarstream import TarStream
from runtime.images.unsound import Unsound
from runtime.images.untar import read_entries

_REPORT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: descriptors of the blob and of the empty directory, and the layer's limits."""

    blob: int
    tree: int
    limits: Limits


def main() -> int:
    """Unpack; exit status 0 also when the layer is refused: the last line says so."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the whole group, silently
    try:
        _say(_verdict())
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more
    return 0


def _verdict() -> dict[str, object]:
    fields = json.load(sys.stdin)
    order = Order(fields["blob"], fields["tree"], Limits(**fields["limits"]))
    try:
        os.umask(0)
        os.fchdir(order.tree)
        os.chroot(".")
        return unpack(order)
    except Unsound as error:
        path = error.path.decode("utf-8", "backslashreplace")
        return {"refused": error.message, "path": path, "hint": error.hint}
    except BrokenPipeError:
        raise
    except OSError as error:
        return {"errno": error.errno, "message": error.strerror or str(error)}
    except MemoryError:
        return {"errno": errno.ENOMEM, "message": "out of memory"}


def unpack(order: Order) -> dict[str, object]:
    """Make the tree. Returns what there is to know of it. Raises Unsound, OSError."""
    stream = TarStream(order.blob, order.limits, reporter())
    extractor = Extractor(order.tree, order.limits)
    try:
        extractor.extract(read_entries(stream, order.limits), stream)
        diff_id = stream.finish()
    finally:
        stream.close()
    return {
        "diff_id": diff_id,
        "entries": extractor.entries,
        "bytes": extractor.bytes,
        "implied": sorted(map(os.fsdecode, extractor.implied)),
        "hiding": sorted(map(os.fsdecode, extractor.hiding)),
        "skipped_xattrs": extractor.skipped_xattrs,
    }


def reporter() -> Callable[[int], None]:
    """Says how far the blob was read, at most ten times a second."""
    due = 0.0

    def report(offset: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _REPORT_SECONDS
            _say({"done": offset})

    return report


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
