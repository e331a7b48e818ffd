"""A caller whose words are kept: so that the API answers with the very documents that `-o json` prints."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from contextvars import copy_context
from pathlib import Path
from typing import ParamSpec, TextIO

from reconciler.caller import Here, work_for
from schemas.errors import Refused

P = ParamSpec("P")


def never() -> bool:
    return False


class Recorder(Here):
    """`files`: what the caller sent of its files, by path; nothing of this machine's is read for it."""

    is_remote = True

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        directory: str = "/",
        files: Mapping[str, str] | None = None,
        stops: Callable[[], bool] = never,
        out: TextIO | None = None,
        person: str = "",
    ) -> None:
        self._person = person
        self._environment = environment or {}
        self._directory = Path(directory)
        self._files = files or {}
        self._stops = stops
        self.out = out or io.StringIO()
        self.err = io.StringIO()

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def person(self) -> str:
        return self._person

    def stdin(self) -> TextIO:
        return io.StringIO()

    def stdout(self) -> TextIO:
        return self.out

    def stderr(self) -> TextIO:
        return self.err

    def read_bytes(self, path: str | Path) -> bytes:
        if str(path) not in self._files:
            raise FileNotFoundError(2, "it was not sent: add it to `files`", str(path))
        return self._files[str(path)].encode(errors="surrogateescape")

    def require(self, paths: Collection[str]) -> None:
        missing = [path for path in paths if path not in self._files]
        if missing:
            raise Refused(f"files are named and were not sent: {', '.join(missing)}", hint="add them to `files`")

    def stops(self) -> bool:
        return self._stops()

    def has_left(self) -> bool:
        return self._stops()


def recorded(who: Recorder, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
    """What `call` prints for `who`, unless that goes elsewhere. Raises whatever it raises."""

    def work() -> None:
        work_for(who)
        call(*args, **kwargs)

    copy_context().run(work)
    return who.out.getvalue() if isinstance(who.out, io.StringIO) else ""
