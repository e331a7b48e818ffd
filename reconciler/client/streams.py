"""Files of this side that a daemon cannot reach: what a command reads goes to it, what it writes comes from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from reconciler.client.remote_commands import command_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

READING = frozenset({"image load", "image import"})


@contextmanager
def input_of(words: Sequence[str], parameters: Mapping[str, object]) -> Iterator[BinaryIO | None]:
    """What the command reads, None where it reads nothing; a directory is read as a tar. Raises OSError."""
    file = parameters.get("file")
    if command_name(words) not in READING or not isinstance(file, str):
        yield None
    elif file == "-":
        yield None if sys.stdin.isatty() else sys.stdin.buffer
    elif os.path.isdir(file):
        yield from _tarred(file)
    else:
        with open(file, "rb") as opened:
            yield opened


def _tarred(directory: str) -> Iterator[BinaryIO]:
    import tarfile
    import tempfile

    with tempfile.TemporaryFile() as spooled:
        with tarfile.open(fileobj=spooled, mode="w") as archive:
            archive.add(directory, arcname=".")
        spooled.seek(0)
        yield spooled


class Taken:
    """Where standard output goes: `file`, or None for our own.

    A pipe or a device (/dev/null) is written to, and stays what it is.
    """

    def __init__(self, path: str = "", *, is_layout: bool = False) -> None:
        # a device or a pipe must not be replaced by a file
        self._in_place = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
        self._path = path
        self._is_layout = is_layout
        hidden = f"{os.path.dirname(path) or '.'}/.{os.path.basename(path)}.{os.getpid()}.new"
        self._new = path if self._in_place else hidden
        mode = "wb" if self._in_place else "xb"
        self.file: Any = open(self._new, mode) if path else None  # noqa: SIM115 - closed by `keep` or `close`

    def keep(self) -> None:
        """It is whole: let it be there under its name."""
        if self.file is None:
            return
        self.file.flush()
        if self._in_place:
            return
        os.fsync(self.file.fileno())
        self.file.close()
        if self._is_layout:
            _lay_out(self._new, self._path)
        else:
            os.replace(self._new, self._path)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            if not self._in_place and os.path.exists(self._new):
                os.unlink(self._new)


def _lay_out(archive: str, directory: str) -> None:
    """Files and directories alone, none outside `directory`: the other side may be anybody."""
    import shutil
    import tarfile

    with tarfile.open(archive) as members:
        for member in members:
            parts = member.name.split("/")
            content = members.extractfile(member) if member.isreg() else None
            if content is None or ".." in parts or member.name.startswith("/"):
                continue
            path = os.path.join(directory, *parts)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with content, open(path, "xb") as file:
                shutil.copyfileobj(content, file)


@contextmanager
def output_of(words: Sequence[str], parameters: Mapping[str, object]) -> Iterator[Taken]:
    """What the command writes: a file that is there whole or not at all. Raises OSError."""
    file = parameters.get("file")
    saves = command_name(words) in ("image save", "image export") and isinstance(file, str) and file != "-"
    taken = Taken(str(file), is_layout=parameters.get("form") == "oci-layout") if saves else Taken()
    try:
        yield taken
    finally:
        taken.close()
