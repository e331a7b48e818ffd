"""A container's farewell: what its monitor forgets for the engine that made it, without starting a program for it.

A private extension: an annotation says where the engine keeps small records under the container's name (its names for
DNS), and which mark calls for the `poststop` hooks. All in one process that is about to end: a hook alone takes longer
than everything else that is done when a container has ended. Knows nothing of what the records mean.
"""

from __future__ import annotations

import contextlib
import json
import os

ANNOTATION = "trimtab/farewell"


def farewell(records: str, name: str, mark: str, incarnation: tuple[str, str]) -> str:
    """The annotation: forget `records`/*/`name`, and run the hooks only where the file `mark` is.

    `incarnation` is a file and what it holds as long as no later start of the container has begun.
    """
    return json.dumps({"records": records, "name": name, "mark": mark, "incarnation": incarnation})


def bid(text: str) -> bool:
    """Do as an annotation says, an empty one says nothing; whether the `poststop` hooks are to run."""
    if not text:
        return True
    wanted = json.loads(text)
    if _is_latest(*wanted["incarnation"]):
        _forget(wanted["records"], wanted["name"])
    return os.path.exists(wanted["mark"])


def _is_latest(file: str, token: str) -> bool:
    """A late farewell leaves the records of the next incarnation alone."""
    try:
        with open(file, "rb") as opened:
            return opened.read().decode() == token
    except FileNotFoundError:
        return True


def _forget(records: str, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for directory in os.listdir(records):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(f"{records}/{directory}/{name}")
