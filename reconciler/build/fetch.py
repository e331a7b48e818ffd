"""What ADD fetches: URLs into the blob store, repositories as the tar of one commit.

Asked again at each build whether it is still the same: an ETag for a URL, the commit for a repository. Called by the
solver and for contexts that are elsewhere.

Source: Dockerfile reference, "ADD": "Adding files from remote URLs", "Adding files from a Git repository".
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import unquote, urlsplit

from reconciler.build.archives import add_archive, is_archive, pack
from reconciler.build.layer import Plan
from reconciler.build.steps import FromRemote, Transfer
from runtime.images.blobs import BlobStore
from runtime.layout import Layout
from schemas.dockerfile.remote import Remote
from schemas.errors import Refused, RetryLater

TIMEOUT = 60.0
GIT_SECONDS = 1800.0
_PIECE = 1 << 20
_GIT_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "core.hooksPath",
    "GIT_CONFIG_VALUE_0": "/dev/null",
    "GIT_CONFIG_KEY_1": "protocol.ext.allow",
    "GIT_CONFIG_VALUE_1": "never",
    "GIT_CONFIG_KEY_2": "core.logAllRefUpdates",
    "GIT_CONFIG_VALUE_2": "false",
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched: `digest` identifies it; `blob` holds a file, or the tar of a repository."""

    digest: str
    blob: str
    size: int
    name: str
    modified: int
    is_tree: bool

    def add_to(self, plan: Plan, work: Transfer, fetching: Fetching) -> None:
        """Into a layer: a repository's tree, an archive unpacked if that was asked for, or a file."""
        store = fetching.store
        where, kind = plan.place(work.destination)
        if self.is_tree or (work.unpack_fetched and is_archive(lambda: store.open(self.blob))):
            held = fetching.held
            add_archive(plan, lambda: store.open(self.blob), where, fetching.spool, held)
            return
        into = work.destination.endswith("/") or kind == "directory"
        target = posixpath.join(where, self.name) if into else where
        if into and not self.name:
            raise Refused("the URL names no file", step="fetch", hint="write the file's name in the destination")
        plan.put_stream(target, lambda: store.open(self.blob), self.size, 0o600, self.modified)


@dataclass(frozen=True, slots=True)
class Fetching:
    """Where it is kept. `held` lasts as long as the build."""

    layout: Layout
    store: BlobStore
    held: ExitStack
    offline: bool = False
    """What was fetched last counts, and nobody is asked."""

    def spool(self) -> IO[bytes]:
        """A file without a name on the engine's disk."""
        directory = self.layout.root / "build"
        directory.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=directory)

    def fetch(self, taken: FromRemote) -> Fetched:
        """Raises Refused, RetryLater."""
        if taken.kind is Remote.HTTP:
            return self._url(taken.url, taken.checksum)
        return self._repository(taken.url, taken.checksum, taken.keep_git_dir)

    # URLs

    def _url(self, url: str, checksum: str) -> Fetched:
        memory = self.layout.root / "build" / "fetched" / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
        known = _recall(memory)
        if known and not self.store.has(known["blob"]):
            known = {}
        if not known and self.offline:
            raise RetryLater(f"{url} was not fetched yet", step="fetch")
        if not self.offline and not (known and checksum and known["blob"] == checksum):
            known = self._download(url, known, memory)
        if checksum and known["blob"] != checksum:
            raise Refused(f"{url} is {known['blob']}, not {checksum}", step="fetch")
        modified = int(known["modified"] or 0)
        identity = f"sha256:{hashlib.sha256(json.dumps([known['blob'], known['name']]).encode()).hexdigest()}"
        return Fetched(identity, known["blob"], self.store.size(known["blob"]) or 0, known["name"], modified, False)

    def _download(self, url: str, known: dict[str, str], memory: Path) -> dict[str, str]:
        headers = {"User-Agent": "trimtab", "Accept-Encoding": "identity"}
        if known.get("etag"):
            headers["If-None-Match"] = known["etag"]
        elif known.get("last_modified"):
            headers["If-Modified-Since"] = known["last_modified"]
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
                if urlsplit(answer.url).scheme not in ("http", "https"):
                    raise Refused(f"{url} leads to {answer.url}", step="fetch")
                with self.store.write() as writer:
                    while piece := answer.read(_PIECE):
                        writer.write(piece)
                    length = answer.headers.get("Content-Length")
                    if length is not None and int(length) != writer.offset:
                        raise RetryLater(f"{url} ended after {writer.offset} of {length} bytes", step="fetch")
                    blob = writer.commit()
                found = {
                    "blob": blob,
                    "name": _name(answer.headers.get("Content-Disposition", ""), answer.url),
                    "etag": answer.headers.get("ETag", ""),
                    "last_modified": answer.headers.get("Last-Modified", ""),
                    "modified": _seconds(answer.headers.get("Last-Modified", "")),
                }
        except urllib.error.HTTPError as error:
            if error.code == 304 and known:
                return known
            kind = RetryLater if error.code >= 500 or error.code == 429 else Refused
            raise kind(f"{url} answers {error.code} {error.reason}", step="fetch") from error
        except (OSError, ValueError) as error:
            raise RetryLater(f"{url}: {error}", step="fetch") from error
        _remember(memory, found)
        return found

    # repositories

    def _repository(self, url: str, checksum: str, keep_git_dir: bool) -> Fetched:
        blob, commit = self.git_checkout(url, checksum) if keep_git_dir else self.git_tar(url, checksum)
        size = self.store.size(blob) or 0
        named = f"git {commit} {url.partition('#')[2]}{' and .git' if keep_git_dir else ''}"
        identity = f"sha256:{hashlib.sha256(named.encode()).hexdigest()}"
        return Fetched(identity, blob, size, "", 0, True)

    def git_tar(self, url: str, checksum: str = "") -> tuple[str, str]:
        """`URL#REF:DIRECTORY` -> the blob of a tar of that directory at that commit, and the commit."""
        repository, commit, directory = self._commit(url, checksum)
        tree = f"{commit}:{directory}" if directory else commit
        with self.store.write() as writer, self._piped(repository, "archive", "--format=tar", tree) as output:
            while piece := output.read(_PIECE):
                writer.write(piece)
            return writer.commit(), commit

    def git_checkout(self, url: str, checksum: str = "") -> tuple[str, str]:
        """The same with `.git` beside the files, of that one commit: equal commits give equal bytes."""
        repository, commit, directory = self._commit(url, checksum)
        if directory:
            hint = "leave the directory out, or --keep-git-dir"
            raise Refused("only a whole repository has its .git", step="fetch", hint=hint)
        (self.layout.root / "build").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.layout.root / "build", prefix="git-") as name:
            made = Path(name)
            self._git(made, "init", "--quiet", "--template=", "--initial-branch=main")
            self._git(repository, "update-ref", "refs/heads/kept", commit)
            self._git(
                made,
                "-c",
                "pack.threads=1",
                "fetch",
                "--quiet",
                "--depth=1",
                "--no-tags",
                repository.as_uri(),
                "refs/heads/kept",
            )
            self._git(made, "update-ref", "--no-deref", "HEAD", commit)
            self._git(made, "remote", "add", "origin", _without_user(url.partition("#")[0]))
            self._git(made, "read-tree", "HEAD")
            self._git(made, "checkout-index", "--all")
            (made / ".git/FETCH_HEAD").unlink(missing_ok=True)
            seconds = int(self._git(made, "log", "-1", "--format=%ct").strip())
            with self.store.write() as writer:
                pack(made, seconds, writer.write)
                return writer.commit(), commit

    def _commit(self, url: str, checksum: str) -> tuple[Path, str, str]:
        """The repository on this machine, the commit that is in it then, and the directory that is meant."""
        remote, _, fragment = url.partition("#")
        ref, _, directory = fragment.partition(":")
        if remote.startswith("-") or ref.startswith("-") or ".." in directory.split("/"):
            raise Refused(f"{url!r} is no repository", step="fetch")
        repository = self.layout.root / "build" / "git" / hashlib.sha256(remote.encode()).hexdigest()[:32]
        if not (repository / "HEAD").exists():
            repository.mkdir(parents=True, exist_ok=True)
            self._git(repository, "init", "--quiet", "--bare")
        if re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", ref) and self._has(repository, ref):
            commit = ref
        else:
            if not self.offline:
                self._git(repository, "fetch", "--quiet", "--depth=1", "--no-tags", "--", remote, ref or "HEAD")
            commit = self._git(repository, "rev-parse", "FETCH_HEAD^{commit}").strip()
        if checksum and not commit.startswith(checksum):
            raise Refused(f"{url} is at {commit}, not {checksum}", step="fetch")
        return repository, commit, directory.strip("/")

    def _has(self, repository: Path, commit: str) -> bool:
        with suppress(Refused, RetryLater):
            self._git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
            return True
        return False

    def _git(self, repository: Path, *words: str) -> str:
        command = ["git", "-C", str(repository), *words]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **_GIT_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=GIT_SECONDS,
            )
        except FileNotFoundError as error:
            raise Refused("git is not installed", step="fetch", hint="install git") from error
        except subprocess.TimeoutExpired as error:
            raise RetryLater(f"git {words[0]} took too long", step="fetch") from error
        if done.returncode:
            raise RetryLater(f"git {words[0]}: {done.stderr.strip()[-500:]}", step="fetch")
        return done.stdout

    @contextmanager
    def _piped(self, repository: Path, *words: str) -> Iterator[BinaryIO]:
        command = ["git", "-C", str(repository), *words]
        with subprocess.Popen(
            command, env={**os.environ, **_GIT_ENVIRONMENT}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            yield child.stdout  # type: ignore[misc]
        if child.returncode:
            raise RetryLater(f"git {words[0]} ended with {child.returncode}", step="fetch")


def _without_user(remote: str) -> str:
    """A password in the address is nobody's business who gets the image."""
    return re.sub(r"^([a-z+]+://)[^/]*@", r"\1", remote) if remote.startswith("http") else remote


def _name(disposition: str, url: str) -> str:
    """A file's name: what the server says, else the last part of the URL's path; never a path."""
    said = re.search(r'filename="?([^";]+)"?', disposition)
    name = posixpath.basename(said[1] if said else unquote(urlsplit(url).path))
    return "" if name in (".", "..") or name.startswith(".wh.") else name


def _seconds(text: str) -> str:
    with suppress(ValueError, TypeError):
        return str(int(parsedate_to_datetime(text).timestamp()))
    return "0"


def _recall(memory: Path) -> dict[str, str]:
    try:
        found = json.loads(memory.read_bytes())
        return {str(key): str(value) for key, value in found.items()} if "blob" in found else {}
    except (OSError, ValueError, AttributeError):
        return {}


def _remember(memory: Path, found: dict[str, str]) -> None:
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary = memory.with_suffix(".new")
        temporary.write_text(json.dumps(found))
        temporary.rename(memory)
