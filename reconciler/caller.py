"""Whoever gave a command: its directory, its variables, its files, and whether it wants no more done.

By default that is this process. In the daemon it is a client, whose texts came with its request; then the same code
does the same work for it (`reconciler.api.visitor`). What a command prints goes by `sys.stdout` in both cases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from schemas.envelope import Declared
    from schemas.source_text import Text

Gone = Callable[[], bool]


class Caller(Protocol):
    """What a command may ask of whoever gave it."""

    is_remote: bool

    @property
    def environment(self) -> Mapping[str, str]:
        """Its variables."""

    @property
    def directory(self) -> Path:
        """Where its relative paths count from."""

    @property
    def columns(self) -> int | None:
        """The width of its terminal; None where the terminal itself tells."""

    @property
    def person(self) -> str:
        """Who it is, for history."""

    def stdin(self) -> TextIO: ...

    def stdout(self) -> TextIO: ...

    def stderr(self) -> TextIO: ...

    def read_texts(self, paths: Sequence[str]) -> list[Text]:
        """The manifests it names. Raises Refused."""

    def load(self, texts: Sequence[Text], environment: Mapping[str, str], set: str, commit: str) -> Sequence[Declared]:
        """What the texts declare. Raises Invalid."""

    def set_name(self, paths: Sequence[str]) -> str:
        """What it calls these manifests together."""

    def head_commit(self, paths: Sequence[str]) -> str:
        """The commit these manifests stand at; may be empty."""

    def read_bytes(self, path: str | Path) -> bytes:
        """A file that it or its manifests name. Raises OSError."""

    def require(self, paths: Collection[str]) -> None:
        """These files will be read: have them ready."""

    def has_left(self) -> bool:
        """Nobody reads what is told any more."""

    def stops(self) -> bool:
        """It wants no more actions to begin."""


class Here:
    """This process."""

    is_remote = False
    columns: int | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    @property
    def directory(self) -> Path:
        from pathlib import Path

        return Path.cwd()

    @property
    def person(self) -> str:
        behind = os.environ.get("SUDO_USER")
        return f"{behind} (sudo)" if behind else account_name(os.getuid())

    def stdin(self) -> TextIO:
        import sys

        return sys.stdin

    def stdout(self) -> TextIO:
        import sys

        return sys.stdout

    def stderr(self) -> TextIO:
        import sys

        return sys.stderr

    def read_texts(self, paths: Sequence[str]) -> list[Text]:
        from reconciler.sources.directory import read_texts

        return read_texts(paths)

    def load(self, texts: Sequence[Text], environment: Mapping[str, str], set: str, commit: str) -> Sequence[Declared]:
        from schemas.load import load

        return load(texts, environment, set=set, commit=commit)

    def set_name(self, paths: Sequence[str]) -> str:
        from reconciler.sources.directory import set_name

        return set_name(paths)

    def head_commit(self, paths: Sequence[str]) -> str:
        from reconciler.sources.directory import commit_of

        return commit_of(paths)

    def read_bytes(self, path: str | Path) -> bytes:
        from pathlib import Path

        return Path(path).read_bytes()

    def require(self, paths: Collection[str]) -> None:
        return None

    def has_left(self) -> bool:
        return False

    def stops(self) -> bool:
        return False


def account_name(uid: int) -> str:
    """The name of the account, for people."""
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


_CALLER: ContextVar[Caller] = ContextVar("caller", default=Here())  # noqa: B039 - it holds nothing


def caller() -> Caller:
    """Whoever the work of this thread is for."""
    return _CALLER.get()


def by_person(deed: str) -> str:
    """`apply by ann`: what is being done, and who does it."""
    return f"{deed} by {caller().person}"


def work_for(who: Caller) -> None:
    """From now on this context's work is for `who`."""
    _CALLER.set(who)
