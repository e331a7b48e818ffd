"""The work of `trimtab registry passwd`: one line of an htpasswd file, by bcrypt; never a password as a word."""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

import click

from schemas.errors import Refused

ROUNDS = 10
LONGEST = 72
"""Bytes; bcrypt reads no more."""


def keep(file: Path, name: str, *, from_input: bool) -> str:
    """What to say. Raises Refused."""
    import bcrypt

    if not re.fullmatch(r"[^\s:#][^\s:]{0,254}", name):
        raise Refused(f"{name!r} can name nobody", step="passwd", hint="no spaces, no colon")
    if not from_input and not sys.stdin.isatty():
        raise Refused("standard input is no terminal", step="passwd", hint="pipe the password in with --password-stdin")
    password = sys.stdin.readline().rstrip("\r\n") if from_input else _asked()
    if not 1 <= len(password.encode()) <= LONGEST:
        raise Refused(f"a password has 1 to {LONGEST} bytes", step="passwd")
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)).decode()
    _write(file, [*_others(file, name), f"{name}:{hashed}"])
    return f"{file}: {name} may log in."


def forget(file: Path, name: str) -> str:
    """What to say."""
    others = _others(file, name)
    known = file.exists() and len(others) < len(file.read_text().splitlines())
    if known:
        _write(file, others)
    return f"{file}: {name} is gone." if known else f"{file}: nobody is called {name}."


def _asked() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _others(file: Path, name: str) -> list[str]:
    if not file.exists():
        return []
    return [line for line in file.read_text().splitlines() if line.partition(":")[0] != name]


def _write(file: Path, lines: list[str]) -> None:
    """Whole or not at all; root's alone."""
    new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as text:
            text.write("".join(f"{line}\n" for line in lines))
            text.flush()
            os.fsync(fd)
        new.rename(file)
    except OSError as error:
        raise Refused(error.strerror or str(error), step="passwd", path=str(file), errno=error.errno) from error
    finally:
        new.unlink(missing_ok=True)
