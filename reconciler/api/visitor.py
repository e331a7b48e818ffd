"""A client as the caller of a command: what it sent is what the command reads (see `reconciler.caller`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TextIO, cast

from pydantic import BaseModel, ConfigDict, Field

from reconciler.api.loading import Loaders
from reconciler.api.outgoing import Outgoing
from reconciler.api.streams import FrameText
from reconciler.client.frames import STDERR, STDOUT
from schemas.envelope import Declared
from schemas.errors import Refused
from schemas.source_text import Text


class CommandRequest(BaseModel):
    """A command line, and what of its surroundings the command may need. Bytes are text with surrogate escapes."""

    model_config = ConfigDict(extra="forbid")

    words: list[str] = Field(min_length=1, max_length=10_000, description="The command line, from the command on.")
    directory: str = Field("/", max_length=4096, pattern="^/", description="Where relative paths count from.")
    environment: dict[str, str] = Field({}, description="Variables for ${...} and the like.")
    texts: list[tuple[str, str]] | None = Field(None, description="Names and texts of the manifests.")
    set: str = Field("", max_length=255, description="What the manifests are called together.")
    commit: str = Field("", max_length=64, description="The commit that they stand at.")
    files: dict[str, str | None] = Field({}, description="Other files by path; null: there is none.")
    terminal: tuple[bool, bool, bool] = Field((False, False, False), description="Which streams are terminals.")
    columns: int | None = Field(None, ge=1, le=10_000, description="The terminal's width.")
    root: str | None = Field(None, description="The engine that is meant, where the caller did not choose a host.")


class FilesWanted(BaseException):
    """The command reads files of the client's that did not come with it. Passes through `except Exception`."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(*paths)
        self.paths = tuple(paths)


class Visitor:
    """Made for one command."""

    is_remote = True

    def __init__(
        self,
        request: CommandRequest,
        outgoing: Outgoing,
        stdin: TextIO,
        is_stopping: Callable[[], bool],
        loaders: Loaders,
        person: str = "",
    ) -> None:
        self._person = person
        self._loaders = loaders
        self._request = request
        self._outgoing = outgoing
        self._stdin = stdin
        self._is_stopping = is_stopping
        self._stopped = threading.Event()
        _, out, err = request.terminal
        self._stdout = cast(TextIO, FrameText(outgoing, STDOUT, is_terminal=out))
        self._stderr = cast(TextIO, FrameText(outgoing, STDERR, is_terminal=err))

    @property
    def environment(self) -> Mapping[str, str]:
        return self._request.environment

    @property
    def directory(self) -> Path:
        return Path(self._request.directory)

    @property
    def columns(self) -> int | None:
        return self._request.columns

    @property
    def person(self) -> str:
        return self._person

    def stdin(self) -> TextIO:
        return self._stdin

    def stdout(self) -> TextIO:
        return self._stdout

    def stderr(self) -> TextIO:
        return self._stderr

    def read_texts(self, paths: Sequence[str]) -> list[Text]:
        """Raises Refused where none were sent."""
        if self._request.texts is None:
            raise Refused("no manifests came with the command", step="read manifests", hint="send `texts`")
        return [Text(name, text.encode(errors="surrogateescape")) for name, text in self._request.texts]

    def load(self, texts: Sequence[Text], environment: Mapping[str, str], set: str, commit: str) -> Sequence[Declared]:
        return self._loaders.load(texts, environment, set=set, commit=commit)

    def set_name(self, paths: Sequence[str]) -> str:
        return self._request.set or "stdin"

    def head_commit(self, paths: Sequence[str]) -> str:
        return self._request.commit

    def read_bytes(self, path: str | Path) -> bytes:
        name = str(path)
        self.require([name])
        content = self._request.files[name]
        if content is None:
            raise FileNotFoundError(2, "No such file or directory", name)
        return content.encode(errors="surrogateescape")

    def require(self, paths: Collection[str]) -> None:
        """Raises FilesWanted with those that did not come."""
        missing = [path for path in paths if path not in self._request.files]
        if missing:
            raise FilesWanted(missing)

    def has_left(self) -> bool:
        return self._outgoing.left or self._is_stopping()

    def stop(self) -> None:
        """The client wants no more actions to begin."""
        self._stopped.set()

    def stops(self) -> bool:
        return self._stopped.is_set() or self._is_stopping()
