"""The text of `nft list table`, taken apart; and the lock that orders changes. Light, for the sake of `depart.py`.

Pure but for the lock. `listing.py` makes records of this. Imports next to nothing: a process that ends a container's
part of the firewall should cost little more than an interpreter.
"""

from __future__ import annotations

import fcntl
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = re.compile(r"^\t(set|map|chain) (\S+) \{(?: # handle \d+)?$")
_ELEMENT = re.compile(
    r'\s*((?:"[^"]*"|[^",}])+?)(?: comment "((?:[^"\\]|\\.)*)")?(?: : ([^,}"]+?))?\s*([,}])'  # key, comment, value, end
)


def blocks(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Kind (`set`, `map` or `chain`), name and lines of everything in a table."""
    head: tuple[str, str] | None = None
    lines: list[str] = []
    for line in text.splitlines():
        opening = _BLOCK.match(line)
        if opening:
            head, lines = (opening[1], opening[2]), []
        elif line == "\t}" and head is not None:
            yield *head, lines
            head = None
        else:
            lines.append(line)


def elements(lines: list[str]) -> Iterator[tuple[tuple[str, ...], str, tuple[str, ...]]]:
    """Key, comment and value of each element in the lines of a set or map; `goto x` is a value of two parts."""
    _, found, body = "\n".join(lines).partition("elements = {")
    if not found:
        return
    for key, comment, value, end in _ELEMENT.findall(body):
        # the first word of each part: behind it may stand a timeout or counter of somebody else's
        parts = tuple(part.split(None, 1)[0].strip('"') for part in key.split(" . "))
        yield parts, comment, tuple(value.replace(" . ", " ").split())
        if end == "}":
            return


def rules(lines: list[str]) -> tuple[str, ...]:
    """The lines of a chain as nft prints them, its hook's first."""
    return tuple(line.strip() for line in lines if line.strip())


def lock(run: str) -> int:
    """Wait for the firewall's lock of the engine with that run directory; closing the descriptor gives it back.

    One change that reads first at a time, between threads and between processes (flock(2)).
    """
    try:  # noqa: SIM105 - contextlib is not imported on the way of a farewell
        # not its parents: the late farewell of a container would bring an engine back that was removed meanwhile
        os.mkdir(run)  # noqa: PTH102
    except FileExistsError:
        pass
    descriptor = os.open(f"{run}/firewall.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor
