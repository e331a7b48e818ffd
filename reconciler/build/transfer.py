"""What COPY and ADD do: which files of what, to which absolute place. Pure.

Called by `graph`, with the instruction's variables replaced.

Source: Dockerfile reference, "ADD", "COPY".
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from itertools import groupby

from reconciler.build.steps import FromRemote, Input, Transfer
from schemas.dockerfile.instructions import Add, Copy
from schemas.dockerfile.remote import remote_of

Take = Callable[[tuple[str, ...], tuple[str, ...]], Input]
"""Paths, and patterns of what is left out -> those files of one source."""


def transfer(instruction: Copy | Add, working_dir: str, take: Take) -> tuple[Transfer, tuple[Input, ...]]:
    """The work, and what it takes, in the order of the instruction's sources."""
    unpack = instruction.unpack if isinstance(instruction, Add) else False
    parents = isinstance(instruction, Copy) and instruction.parents
    inputs = _inputs(instruction, parents, take)
    several = len(instruction.sources) + len(instruction.files) > 1
    work = Transfer(
        destination=destination_of(instruction.destination, working_dir, is_directory=several or parents),
        files=instruction.files,
        chown=instruction.chown,
        chmod=instruction.chmod,
        parents=parents,
        unpack=unpack is not False,
        unpack_fetched=unpack is True,
    )
    return work, inputs


def destination_of(path: str, working_dir: str, *, is_directory: bool) -> str:
    """The path made absolute; with a slash at its end if that, a dot, or the sources make it a directory."""
    absolute = posixpath.normpath(posixpath.join("/", working_dir, path))
    absolute = "/" + absolute.lstrip("/")
    ends_so = path.endswith("/") or posixpath.basename(path) in ("", ".")
    return absolute if absolute == "/" or not (is_directory or ends_so) else f"{absolute}/"


def source_path(path: str) -> str:
    """A source relative to the top of what it is taken from, which it cannot leave; `.` is the top."""
    return posixpath.normpath("/" + path).lstrip("/") or "."


def _inputs(instruction: Copy | Add, parents: bool, take: Take) -> tuple[Input, ...]:
    if isinstance(instruction, Copy):
        # With --parents a `/./` says where the kept part of the path begins.
        paths = instruction.sources if parents else _paths(instruction.sources)
        return (take(paths, instruction.exclude),) if paths else ()
    inputs: list[Input] = []
    for is_remote, sources in groupby(instruction.sources, lambda source: remote_of(source) is not None):
        if is_remote:
            inputs += [_fetched(instruction, source) for source in sources]
        else:
            inputs.append(take(_paths(tuple(sources)), instruction.exclude))
    return tuple(inputs)


def _paths(sources: Sequence[str]) -> tuple[str, ...]:
    return tuple(source_path(source) for source in sources)


def _fetched(instruction: Add, source: str) -> FromRemote:
    kind = remote_of(source)
    if kind is None:
        raise ValueError(f"{source!r} is a path")
    return FromRemote(source, kind, instruction.checksum, bool(instruction.keep_git_dir))
