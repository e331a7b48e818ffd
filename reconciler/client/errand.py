"""What a command needs of where it is typed, gathered to be sent: texts, the variables they name, terminals."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from reconciler.client.remote_commands import WHOLE_ENVIRONMENT, command_name

ALWAYS = ("HOME", "TERM", "TZ", "NO_COLOR")
"""Variables that a command may look at by itself."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def document(words: Sequence[str], parameters: Mapping[str, object]) -> dict[str, object]:
    """The request's JSON. Raises Refused for what cannot be read."""
    made: dict[str, object] = {
        "words": list(words),
        "directory": os.getcwd(),
        "terminal": [stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)],
    }
    texts: list[bytes] = [os.fsencode(word) for word in words]
    paths = parameters.get("paths")
    if isinstance(paths, tuple) and paths:
        from reconciler.sources.files import commit_of, read_files, set_name

        read = read_files(paths)
        texts += read.values()
        made["texts"] = [[name, _text(content)] for name, content in read.items()]
        made["set"], made["commit"] = set_name(paths), commit_of(paths)
    env_files = parameters.get("env_files")
    if isinstance(env_files, tuple) and env_files:
        made["files"] = files = {path: read_file(path) for path in env_files}
        texts += [content.encode(errors="surrogateescape") for content in files.values() if content is not None]
    whole = command_name(words) in WHOLE_ENVIRONMENT or parameters.get("against") is not None
    made["environment"] = dict(os.environ) if whole else named(texts, os.environ)
    if sys.stdout is not None and sys.stdout.isatty():
        made["columns"] = os.get_terminal_size(sys.stdout.fileno()).columns or 80
    return made


def named(texts: Iterable[bytes], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables whose names stand in one of the texts: no other leaves this machine."""
    whole = b"\n".join(texts)
    found = {name: environment[name] for name in ALWAYS if name in environment}
    for name, value in environment.items():
        if name.encode(errors="surrogateescape") in whole:
            found[name] = value
    return found


def add_named(sent: dict[str, object], files: Mapping[str, str | None]) -> None:
    """The variables that more files name, too."""
    texts = [content.encode(errors="surrogateescape") for content in files.values() if content is not None]
    known = sent["environment"]
    sent["environment"] = {**(known if isinstance(known, dict) else {}), **named(texts, os.environ)}


def read_file(path: str) -> str | None:
    """Its content as JSON can carry it; None where there is no such file. Raises OSError."""
    try:
        with open(path, "rb") as file:
            return _text(file.read())
    except FileNotFoundError:
        return None


def wanted_files(paths: Iterable[str], sent: Mapping[str, object]) -> dict[str, str | None]:
    """Files that the daemon asks for. Raises PermissionError for one that nothing sent before can have named."""
    told = "\n".join(_told(sent))
    for path in paths:
        if os.path.basename(path) not in told:
            raise PermissionError(f"the daemon asks for {path}, which no manifest names")
    return {path: read_file(path) for path in paths}


def _told(sent: Mapping[str, object]) -> Iterable[str]:
    texts, environment = sent.get("texts"), sent.get("environment")
    yield from (text for _, text in texts) if isinstance(texts, list) else ()
    yield from map(str, environment.values()) if isinstance(environment, dict) else ()
    yield from map(str, sent.get("words", ()))  # type: ignore[call-overload]


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")
