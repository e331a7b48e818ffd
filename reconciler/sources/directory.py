"""Manifests from a file, a directory or standard input: the texts, and what the set is called.

A directory is read recursively (`*.yaml`, `*.yml`, `*.json`), hidden entries left out, in order of path. Nothing is
parsed here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from schemas.errors import Refused
from schemas.load import Text

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


def read_texts(paths: Sequence[str]) -> list[Text]:
    """The texts of all `paths`, each file once. Raises Refused for a path that cannot be read or holds nothing."""
    texts: dict[str, Text] = {}
    for path in paths:
        for text in _texts(path):
            texts.setdefault(text.name, text)
    return list(texts.values())


def _texts(path: str) -> Iterator[Text]:
    if path == "-":
        yield Text("-", sys.stdin.buffer.read())
        return
    root = Path(path)
    if not root.exists():
        raise Refused("no such file or directory", step="read manifests", path=path, hint="check the path")
    if root.is_file():
        yield Text(path, _read(root))
        return
    files = sorted(manifest_files(root))
    if not files:
        raise Refused("no manifests (*.yaml, *.yml, *.json) in it", step="read manifests", path=path)
    for file in files:
        yield Text(str(file), _read(file))


def manifest_files(root: Path) -> Iterator[Path]:
    """Manifest files below `root`, without hidden files and directories. Symbolic links to directories are followed
    only at the root, so that a loop cannot trap it."""
    for directory, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix in SUFFIXES:
                yield Path(directory, name)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused(error.strerror or str(error), step="read manifests", path=str(file), errno=error.errno) from error


def set_name(paths: Sequence[str]) -> str:
    """What is applied together is called after its git repository, else its directory; standard input is `stdin`."""
    if not paths or paths[0] == "-":
        return "stdin"
    path = Path(paths[0]).resolve()
    directory = path if path.is_dir() else path.parent
    return _usable(_repository(directory) or directory.name or "root")


def _repository(directory: Path) -> str | None:
    """The name of the git repository around `directory`, found by its `.git`, without starting git."""
    for parent in (directory, *directory.parents):
        if (parent / ".git").exists():
            return parent.name
    return None


def _usable(name: str) -> str:
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-._") or "default"


def head_commit(directory: Path) -> str:
    """The short commit a directory stands at, empty when it is not in git or git is not installed."""
    try:
        found = subprocess.run(
            ["git", "-C", str(directory), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
