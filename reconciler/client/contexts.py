"""Named hosts: `trimtab context` writes them, every command reads the one in use."""

from __future__ import annotations

import json
import os
from typing import Any

from reconciler.client.host import contexts_file

LOCAL = "default"
"""This machine: always there, never written down."""


def read_contexts() -> dict[str, Any]:
    """{"current": name, "contexts": {name: {"host": address, "tls": directory}}}. Raises ValueError for another."""
    try:
        with open(contexts_file(), encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {"current": LOCAL, "contexts": {}}
    if not isinstance(found, dict) or not isinstance(found.get("contexts"), dict):
        raise ValueError(f"{contexts_file()} holds no contexts")
    return found


def write_contexts(known: dict[str, Any]) -> None:
    """Whole or not at all."""
    path = contexts_file()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "x", encoding="utf-8") as file:
        json.dump(known, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def current() -> tuple[str, str]:
    """Address and directory of certificates of the context in use; empty for this machine."""
    known = read_contexts()
    name = os.environ.get("TRIMTAB_CONTEXT") or known.get("current", LOCAL)
    if name == LOCAL:
        return "", ""
    found = known["contexts"].get(name)
    if found is None:
        raise ValueError(f"there is no context {name!r}; `trimtab context ls` lists them")
    return str(found["host"]), str(found.get("tls", ""))
