"""Manifests' texts from files, directories and standard input; what they are called together; where git stands.

A directory is read recursively (`*.yaml`, `*.yml`, `*.json`), hidden entries left out, in order of path. Nothing is
parsed here. Light: the command line reads with it what it sends to a daemon.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

SUFFIXES = (".yaml", ".yml", ".json")
SHORT = 7
"""Digits of a commit, as git's own default."""
NO_PATH = "no such file or directory"
NOTHING: Mapping[str, bytes] = {}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


def read_files(paths: Sequence[str], kept: Mapping[str, bytes] = NOTHING) -> dict[str, bytes]:
    """The texts of all `paths` by name, each file once. Raises Refused for what cannot be read or is empty.

    `kept`: what is known to stand in files that are there, and is not read again.
    """
    texts: dict[str, bytes] = {}
    for path in paths:
        for name in _names(path):
            if name not in texts:
                texts[name] = kept[name] if name in kept else _read(name)
    return texts


def _names(path: str) -> Iterator[str]:
    if os.path.isfile(path) or is_stream(path):
        yield path
        return
    if not os.path.exists(path):
        raise _refused(NO_PATH, path, hint="check the path")
    files = sorted(manifest_files(path), key=lambda name: name.split("/"))
    if not files:
        raise _refused("no manifests (*.yaml, *.yml, *.json) in it", path)
    yield from files


def is_stream(path: str) -> bool:
    """Standard input, or a pipe that a shell made (`<(...)`): text that lies in no directory."""
    return path == "-" or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))


def manifest_files(root: str) -> Iterator[str]:
    """Manifest files below `root`, without hidden files and directories. Symbolic links to directories are followed
    only at the root, so that a loop cannot trap it."""
    for directory, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.endswith(SUFFIXES):
                yield os.path.normpath(os.path.join(directory, name))


def _read(path: str) -> bytes:
    if path == "-":
        import sys

        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _refused(error.strerror or str(error), path, errno=error.errno) from error


def _refused(message: str, path: str, *, errno: int | None = None, hint: str = "") -> Exception:
    from schemas.errors import Refused

    return Refused(message, step="read manifests", path=path, errno=errno, hint=hint)


def set_name(paths: Sequence[str]) -> str:
    """What is applied together is called after its git repository, else its directory; standard input is `stdin`."""
    if not paths or is_stream(paths[0]):
        return "stdin"
    return directory_name(_directory(os.path.abspath(paths[0])))


def directory_name(path: str) -> str:
    """What a directory is called, there or not: after the git repository around it, else the last part of its path.

    Of a link its own name counts: where it leads may change with every revision.
    """
    directory = os.path.abspath(path)
    return _usable(os.path.basename(_repository(directory) or directory) or "root")


def _directory(path: str) -> str:
    return path if os.path.isdir(path) else os.path.dirname(path)


def _repository(directory: str) -> str | None:
    """The top of the git repository around `directory`, found by its `.git`, without starting git."""
    while True:
        if os.path.exists(os.path.join(directory, ".git")):
            return directory
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def _usable(name: str) -> str:
    kept = "".join(letter if letter in _PLAIN else "-" for letter in name.lower())
    while "--" in kept:
        kept = kept.replace("--", "-")
    return kept.strip("-._") or "default"


def commit_of(paths: Sequence[str]) -> str:
    """The short commit that the first path's repository stands at; empty outside git and before the first commit.

    Read from git's files (gitrepository-layout(5)), since starting git costs more than all the rest of a command.
    """
    top = _repository(_directory(os.path.realpath(paths[0]))) if paths and not is_stream(paths[0]) else None
    if top is None:
        return ""
    try:
        return _head(_git_directory(os.path.join(top, ".git")))[:SHORT]
    except (OSError, UnicodeDecodeError):
        return ""


def _git_directory(path: str) -> str:
    """`.git` itself, or what it points at in a worktree or a submodule."""
    if os.path.isdir(path):
        return path
    target = _line(path).removeprefix("gitdir:").strip()
    return os.path.join(os.path.dirname(path), target)


def _head(directory: str) -> str:
    head = _line(os.path.join(directory, "HEAD"))
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    common = directory
    if os.path.exists(os.path.join(directory, "commondir")):
        common = os.path.join(directory, _line(os.path.join(directory, "commondir")))
    for place in (directory, common):
        if os.path.exists(os.path.join(place, name)):
            return _line(os.path.join(place, name))
    return _packed(os.path.join(common, "packed-refs"), name)


def _packed(path: str, name: str) -> str:
    with open(path, encoding="ascii", errors="replace") as lines:
        for line in lines:
            commit, _, ref = line.rstrip("\n").partition(" ")
            if ref == name:
                return commit
    return ""


def _line(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.readline().strip()
