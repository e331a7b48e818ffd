"""What a source yields: a revision of its manifests, or why there is none. And what a source is.

Values only. A source reads; whether a revision is valid, and what becomes of it, is decided by who gets it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from schemas.errors import Invalid, Problem, RetryLater, TrimtabError
from schemas.load import Text


@dataclass(frozen=True, slots=True)
class Revision:
    """The manifests of a source at one moment; two of one `id` say the same.

    `texts` are named as their author knows them; relative names and the paths in manifests count from `directory`, in
    which the files stand that manifests point at. `commit` is empty outside git; `at` in seconds since the epoch.
    """

    id: str
    texts: tuple[Text, ...] = field(repr=False)
    directory: Path
    commit: str = ""
    message: str = ""
    at: float = 0.0
    signer: str = ""

    @property
    def short(self) -> str:
        return (self.commit or self.id)[:12]


@dataclass(frozen=True, slots=True)
class SourceTrouble:
    """Why a source has no new revision: what was applied last stays. `temporary`: it may heal by itself."""

    message: str
    commit: str = ""
    problems: tuple[Problem, ...] = ()
    temporary: bool = False
    at: float = 0.0


class Source(Protocol):
    """A directory or repository that is followed. One consumer at a time; ended by closing the iterator. `next_look`:
    when it looks without any event, in seconds since the epoch; 0 while it is looking."""

    next_look: float

    def revisions(self) -> AsyncGenerator[Revision | SourceTrouble]:
        """Each new revision and each new trouble, the first at once. Never raises what a source may meet."""
        ...

    def fetch_now(self) -> None:
        """Look again at once, and yield what is found even if it is nothing new. Safe inside the event loop only."""
        ...

    async def stand(self, commit: str) -> None:
        """Have the files that the manifests of `commit` point at stand in the revision's directory. To be awaited
        before a revision is applied, and with the commit before it when it was refused. Raises Refused, RetryLater."""
        ...


def trouble_of(error: TrimtabError, at: float, commit: str = "") -> SourceTrouble:
    """The trouble that an error of one of the two families is."""
    problems = error.problems if isinstance(error, Invalid) else ()
    return SourceTrouble(str(error), commit, problems, isinstance(error, RetryLater), at)


def digest_of(parts: Iterable[bytes]) -> str:
    """One digest of all parts, each kept apart from the next."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
