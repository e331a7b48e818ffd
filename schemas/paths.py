"""Paths in a manifest: of the host, inside a container, inside a volume.

Text only, nothing is looked up: a relative path of the host keeps its leading `./` or `../`, and whoever knows the
manifest's directory resolves it. What could climb out of the place it is meant for is refused here.
"""

from __future__ import annotations

import posixpath
from typing import Annotated, Any

from schemas.plain_types import read_line
from schemas.spelling import Spelling, pattern

LONGEST = 4095
"""PATH_MAX without the final NUL."""


def read_container_path(value: Any) -> str:
    """An absolute path inside the container, in its shortest form. Raises ValueError."""
    text = _plain(value)
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not absolute; write /{text.removeprefix('./')}")
    return _without_parents(text)


def read_target(value: Any) -> str:
    """Where something is mounted: a container path other than `/`."""
    path = read_container_path(value)
    if path == "/":
        raise ValueError("'/' is the image's own root; write a directory below it")
    return path


def read_subpath(value: Any) -> str:
    """A path inside a volume or image: relative, never upwards. Raises ValueError."""
    text = _plain(value)
    if text.startswith("/"):
        raise ValueError(f"{text!r} is absolute; write it relative to the volume, as in {text.strip('/') or 'data'}")
    return _without_parents(text)


def read_host_path(value: Any) -> str:
    """A path of the host: absolute, or relative to the manifest when it starts with `.` or `~`. Raises ValueError."""
    text = _plain(value)
    if text.startswith("/"):
        return text if ".." in text.split("/") else posixpath.normpath(text).replace("//", "/")
    if text.split("/")[0] in (".", "..", "~"):
        return text if text in (".", "..", "~") else text.rstrip("/")
    raise ValueError(f"{text!r} is neither absolute nor relative; write ./{text} if it stands beside the manifest")


def read_absolute_host_path(value: Any) -> str:
    """A path of the host that does not depend on the manifest's place, as a device has. Raises ValueError."""
    text = read_host_path(value)
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not absolute; write it as in /dev/sda")
    return text


def read_file_path(value: Any) -> str:
    """A file or directory that the manifest names: absolute or relative to the manifest, `./` understood."""
    text = _plain(value)
    return text if text.startswith("~/") else posixpath.normpath(text).replace("//", "/")


def is_host_path(text: str) -> bool:
    """Whether the source of a short volume is a path of the host, and no volume's name."""
    return text.startswith("/") or text.split("/")[0] in (".", "..", "~")


def _plain(value: Any) -> str:
    text = read_line(value)
    if len(text) > LONGEST:
        raise ValueError(f"the path has {len(text)} characters; write at most {LONGEST}")
    return text


def _without_parents(text: str) -> str:
    if ".." in text.split("/"):
        raise ValueError(f"{text!r} climbs with '..'; write the path without it")
    return posixpath.normpath(text).replace("//", "/")


CONTAINER_PATH = pattern(r"/.*")
TARGET = pattern(r"/+[^/].*")
SUBPATH = pattern(r"[^/].*")
FILE_PATH = {"type": "string", "minLength": 1}

ContainerPath = Annotated[str, Spelling(read_container_path, "path in the container", CONTAINER_PATH, final=True)]
Target = Annotated[str, Spelling(read_target, "path in the container", TARGET, final=True)]
Subpath = Annotated[str, Spelling(read_subpath, "relative path", SUBPATH, final=True)]
AbsoluteHostPath = Annotated[
    str, Spelling(read_absolute_host_path, "absolute path of the host", CONTAINER_PATH, final=True)
]
FilePath = Annotated[str, Spelling(read_file_path, "path of the host", FILE_PATH, final=True)]
