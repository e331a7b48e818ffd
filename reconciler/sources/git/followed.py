"""A git repository as a source: asked for its refs once in each interval, and at once when somebody says so.

A commit is fetched when its ref has moved, verified if signatures are required, and read from git's own objects. What
cannot be fetched, verified or read is a trouble; it is looked at again, later and later, at most once in each interval.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import random
import shutil
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.sources.files import SUFFIXES
from reconciler.sources.git.command import Git, environment_of, write_settings
from reconciler.sources.git.credentials import password_settings, read_credential, readable, ssh_command
from reconciler.sources.git.export import ensure_tree, read_objects
from reconciler.sources.git.modules import with_submodules
from reconciler.sources.git.refs import Wanted, choose, patterns
from reconciler.sources.git.remote import read_remote
from reconciler.sources.git.repository import (
    discard,
    ensure_repository,
    fetch,
    is_damage,
    is_large,
    keep,
    list_files,
    list_refs,
    read_commit,
    resolve,
    tidy,
)
from reconciler.sources.git.tree import FILE, LINK, PROGRAM, Entry, base_of, below, refuse_excess, refuse_stray_links
from reconciler.sources.git.tree import resolve as resolve_path
from reconciler.sources.revision import Revision, SourceTrouble, trouble_of
from reconciler.sources.signatures import verify_commit
from schemas.errors import Refused, RetryLater, TrimtabError
from schemas.load import Text
from schemas.source import GitSource

FIRST_PAUSE = 2.0
"""Seconds after the first failure; doubled by each further one, up to the interval."""
JITTER = 0.1
FETCHES_BETWEEN_TIDYING = 20
Credential = Callable[[], bytes | None]
"""Reads the key or password anew for each look. Raises Refused."""


@dataclass(frozen=True, slots=True)
class Files:
    """What of a commit is used: its files, and where its links point."""

    entries: tuple[Entry, ...]
    targets: dict[str, str]


def nothing() -> None:
    """No credential."""


class FollowedRepository:
    """Follows what `git` names, in `directory` of its own. `interval` and `timeout` in seconds."""

    def __init__(
        self,
        git: GitSource,
        directory: Path,
        interval: float = 60.0,
        timeout: float = 300.0,
        credential: Credential = nothing,
    ) -> None:
        self.git = git
        self.directory = directory
        self.interval = interval
        self.timeout = timeout
        self.next_look = 0.0
        self._remote = read_remote(git.url)
        self._credential = credential
        self._wake = asyncio.Event()
        self._found: Revision | None = None
        self._files: dict[str, Files] = {}
        self._standing = ""
        self._fetches = 0
        home = directory / "home"
        self._ssh = ssh_command(None, git.known_hosts)
        self._git = Git(
            directory / "repository", home, environment_of(home, self._remote.scheme, self._ssh, os.environ)
        )

    @property
    def tree(self) -> Path:
        """Where the files stand."""
        return self.directory / "tree"

    def fetch_now(self) -> None:
        self._wake.set()

    async def revisions(self) -> AsyncGenerator[Revision | SourceTrouble]:
        last, failures = "", 0
        while True:
            forced = self._wake.is_set()
            self._wake.clear()
            found = await self._look()
            failures = failures + 1 if isinstance(found, SourceTrouble) else 0
            said = found.id if isinstance(found, Revision) else f"!{found.commit} {found.message}"
            if said != last or forced:
                last = said
                yield found
            await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        seconds = self.interval * random.uniform(1 - JITTER, 1 + JITTER)
        if failures:
            seconds = min(seconds, FIRST_PAUSE * 2 ** min(failures - 1, 20))
        self.next_look = time.time() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self) -> Revision | SourceTrouble:
        """What the repository offers now. No two looks run at once."""
        seen: list[str] = []
        try:
            async with asyncio.timeout(self.timeout):
                return await self._read_mending(seen)
        except TimeoutError:
            took = RetryLater(f"took longer than {self.timeout:g} s", step="fetch", hint="raise timeout:")
            return trouble_of(took, time.time(), *seen)
        except TrimtabError as error:
            return trouble_of(error, time.time(), *seen)
        except OSError as error:
            failed = RetryLater(error.strerror or str(error), step="fetch", path=str(error.filename or ""))
            return trouble_of(failed, time.time(), *seen)

    async def _read_mending(self, seen: list[str]) -> Revision:
        """A copy that a power cut damaged is thrown away and fetched again, once."""
        try:
            return await self._read(seen)
        except TrimtabError as error:
            if not is_damage(error.message):
                raise
        self._found = None
        discard(self._git)
        return await self._read(seen)

    async def _read(self, seen: list[str]) -> Revision:
        """`seen` gets the commit as soon as it is known, for what goes wrong then."""
        with ExitStack() as stack:
            git = self._prepared(stack, await asyncio.to_thread(self._credential))
            wanted = await self._wanted(git)
            seen[:] = [wanted.commit]
            known = self._found is not None and self._found.commit == wanted.commit
            commit = wanted.commit if known else await self._fetched(git, wanted)
            seen[:] = [commit]
            # asked anew at each look: who may sign can change while the commit does not
            signer = await self._signer(git, commit)
            if self._found is None or self._found.commit != commit:
                self._found = await self._revision(git, commit)
            return replace(self._found, signer=signer)

    def _prepared(self, stack: ExitStack, content: bytes | None) -> Git:
        """Git with its settings written; the credential can be read while the stack is open."""
        self._git.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = [(f"protocol.{self._remote.scheme}.allow", "always")]
        if self._remote.scheme == "file":
            settings += [("safe.directory", path) for path in (self._remote.path, f"{self._remote.path}/.git")]
        if self.git.ca is not None:
            settings.append(("http.sslCAInfo", self.git.ca))
        ssh = self._ssh
        if content is not None:
            credential = read_credential(content, self._remote.user)
            path = stack.enter_context(readable(credential.content))
            if credential.is_key:
                ssh = ssh_command(path, self.git.known_hosts)
            else:
                settings += password_settings(self._remote, path)
        write_settings(self._git.home, settings)
        environment = environment_of(self._git.home, self._remote.scheme, ssh, os.environ)
        return Git(self._git.repository, self._git.home, environment)

    async def _wanted(self, git: Git) -> Wanted:
        await ensure_repository(git)
        if self.git.commit is not None:
            return choose(self.git, {})
        return choose(self.git, await list_refs(git, self._remote.url, patterns(self.git), self.timeout))

    async def _fetched(self, git: Git, wanted: Wanted) -> str:
        """The commit, from the copy if it is there already."""
        try:
            return await resolve(git, wanted.commit)
        except Refused:
            pass
        self._fetches += 1
        if self._fetches % FETCHES_BETWEEN_TIDYING == 0 or is_large(git):
            await tidy(git)
        commit = await fetch(git, self._remote.url, wanted, self.timeout)
        await keep(git, {commit, *filter(None, [self._standing])})
        return commit

    async def _signer(self, git: Git, commit: str) -> str:
        if self.git.verify is None:
            return ""
        return await verify_commit(git, commit, Path(self.git.verify.allowed_signers))

    async def _revision(self, git: Git, commit: str) -> Revision:
        told = await read_commit(git, commit)
        files = await self._used(git, commit)
        self._files = {known: have for known, have in self._files.items() if known == self._standing} | {commit: files}
        texts = await asyncio.to_thread(read_texts, git, files, self.git.path)
        return Revision(commit, texts, self.tree, commit, told.message, told.at)

    async def _used(self, git: Git, commit: str) -> Files:
        """The files at the source's path, judged before they are read."""
        every = await list_files(git, commit)
        if self.git.submodules:
            every = await with_submodules(git, self._remote, commit, every, self.timeout)
        base = base_of(every, self.git.path)
        entries = below(every, base)
        refuse_excess(entries)
        links = [entry for entry in entries if entry.mode == LINK]
        contents = await asyncio.to_thread(read_objects, git, [entry.object for entry in links])
        targets = {entry.path: contents[entry.object].decode(errors="surrogateescape") for entry in links}
        refuse_stray_links(entries, targets, base)
        return Files(tuple(entries), targets)

    async def stand(self, commit: str) -> None:
        if commit == self._standing:
            return
        if not commit:
            await asyncio.to_thread(shutil.rmtree, self.tree, ignore_errors=True)
            self._standing = ""
            return
        if commit not in self._files:
            await asyncio.to_thread(self._git.home.mkdir, mode=0o700, parents=True, exist_ok=True)
            self._files[commit] = await self._used(self._git, commit)
        files = self._files[commit]
        await asyncio.to_thread(ensure_tree, self._git, self.tree, files.entries, files.targets)
        self._standing = commit


def read_texts(git: Git, files: Files, path: str | None) -> tuple[Text, ...]:
    """The manifests at `path`, in order of their names. Raises Refused where there is none."""
    modes = {entry.path: entry for entry in files.entries if entry.mode in (FILE, PROGRAM)}
    chosen: dict[str, str] = {}
    for entry in files.entries:
        real = resolve_path(entry.path, files.targets)
        if real in modes and is_manifest(entry.path, path):
            chosen[entry.path] = modes[real].object
    if not chosen:
        where = f" at {path}" if path else ""
        raise Refused(f"the commit has no manifests (*.yaml, *.yml, *.json){where}", step="read manifests")
    unreadable = next((name for name in chosen if not name.isprintable()), None)
    if unreadable is not None:
        raise Refused(f"the commit has a manifest named {unreadable!a}", step="read manifests", hint="rename it")
    contents = read_objects(git, list(dict.fromkeys(chosen.values())))
    return tuple(Text(name, contents[chosen[name]]) for name in sorted(chosen, key=lambda name: name.split("/")))


def is_manifest(name: str, path: str | None) -> bool:
    """As in a directory: by its ending, and nothing hidden on the way below `path`. A path may name one file."""
    if name == path:
        return True
    inside = posixpath.relpath(name, path) if path else name
    if inside.startswith("../"):
        return False
    return name.endswith(SUFFIXES) and not any(part.startswith(".") for part in inside.split("/"))
