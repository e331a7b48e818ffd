"""Who a container's process runs as: names looked up in the image's own /etc/passwd and /etc/group.

The files are read out of the layers, highest first, without following a symbolic link out of a layer: an image is
hostile. passwd(5), group(5).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.bundle.subtree import is_opaque
from schemas.errors import Refused

LARGEST = 4 << 20
"""Bytes of an account file that are read."""

FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class User:
    """Numbers in the container's user namespace, and the home directory."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve_user(layers: Sequence[Path], user: str, extra_groups: Sequence[str] = ()) -> User:
    """`name`, `uid`, `name:group`, `uid:gid`, as Docker reads them. Raises Refused for a name that is not there."""
    name, _, group = user.partition(":")
    passwd = list(_rows(layers, "passwd"))
    groups = list(_rows(layers, "group"))
    uid, gid, login, home = _account(passwd, name or "0")
    if group:
        gid = _group(groups, group)
    member_of = [int(row[2]) for row in groups if login and login in row[3].split(",")] if not group else []
    extra = [_group(groups, name, ("spec", "group_add", index)) for index, name in enumerate(extra_groups)]
    return User(uid, gid, tuple(dict.fromkeys(member_of + extra)), home)


def _account(passwd: list[list[str]], name: str) -> tuple[int, int, str, str]:
    """uid, gid, login name, home."""
    for row in passwd:
        if row[0] == name or (name.isdigit() and row[2] == name):
            return int(row[2]), int(row[3]), row[0], row[5] if len(row) > 5 and row[5] else "/"
    if name.isdigit():
        return int(name), 0, "", "/"
    raise Refused(f"the image has no user {name!r}", step="find the user", hint="write a number, or add the user")


def _group(groups: list[list[str]], name: str, field: tuple[str | int, ...] = ()) -> int:
    if name.isdigit():
        return int(name)
    for row in groups:
        if row[0] == name:
            return int(row[2])
    hint = "write a number, or add the group"
    raise Refused(f"the image has no group {name!r}", step="find the group", hint=hint, field=field)


def _rows(layers: Sequence[Path], file: str) -> Iterator[list[str]]:
    """Well-formed rows of an account file; at least four fields, ids numeric."""
    for line in _read_highest(layers, file).splitlines():
        row = line.split(":")
        if len(row) >= 4 and row[2].isdigit() and (file == "group" or row[3].isdigit()):
            yield row


def _read_highest(layers: Sequence[Path], file: str) -> str:
    """The file of the highest layer that says anything about it; a whiteout says that there is none."""
    for layer in layers:
        try:
            etc = os.open(layer / "etc", FLAGS | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        except OSError:
            return ""
        try:
            return _read(etc, file)
        except FileNotFoundError:
            if is_opaque(etc):
                return ""
        finally:
            os.close(etc)
    return ""


def _read(directory: int, file: str) -> str:
    """Raises FileNotFoundError. Whatever else stands there in place of a file counts as empty."""
    try:
        descriptor = os.open(file, FLAGS, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.pread(descriptor, LARGEST, 0).decode(errors="replace")
    finally:
        os.close(descriptor)
