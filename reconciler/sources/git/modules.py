"""Submodules, where a source asks for them: the commit that each is pinned to, fetched from where `.gitmodules` says.

Only over the protocol of the repository itself; the credentials go to its host alone. The files are listed as if they
were the repository's own.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from reconciler.sources.git.command import Git
from reconciler.sources.git.refs import Wanted
from reconciler.sources.git.remote import Remote, read_remote
from reconciler.sources.git.repository import LOCAL_SECONDS, fetch, list_files, resolve
from reconciler.sources.git.tree import SUBMODULE, Entry
from schemas.errors import Refused, TrimtabError
from schemas.source import read_git_url

MOST_MODULES = 32
DEEPEST = 4
STEP = "fetch the submodules"


async def with_submodules(
    git: Git, remote: Remote, commit: str, entries: Sequence[Entry], timeout: float, depth: int = 0
) -> list[Entry]:
    """The files, with those of each submodule in place of it. `timeout`: seconds for each.

    Raises Refused, RetryLater.
    """
    modules = [entry for entry in entries if entry.mode == SUBMODULE]
    if not modules:
        return list(entries)
    if depth == DEEPEST or len(modules) > MOST_MODULES:
        raise Refused(f"more than {MOST_MODULES} submodules, or {DEEPEST} deep", step=STEP)
    urls = await _urls(git, commit)
    found = [entry for entry in entries if entry.mode != SUBMODULE]
    for module in modules:
        if module.path not in urls:
            raise Refused(f".gitmodules has no url for {module.path}", step=STEP)
        below = read_remote(resolve_url(urls[module.path], remote))
        if below.scheme != remote.scheme:
            message = f"{module.path} is reached by {below.scheme}, the repository by {remote.scheme}"
            raise Refused(message, step=STEP, hint="use one protocol for both")
        inside = await _files(git, below, module, timeout, depth)
        found += [replace(entry, path=f"{module.path}/{entry.path}") for entry in inside]
    return found


async def _files(git: Git, remote: Remote, module: Entry, timeout: float, depth: int) -> list[Entry]:
    try:
        await resolve(git, module.object)
    except Refused:
        await fetch(git, remote.url, Wanted(module.object, module.object, module.path), timeout)
    entries = await list_files(git, module.object)
    return await with_submodules(git, remote, module.object, entries, timeout, depth + 1)


async def _urls(git: Git, commit: str) -> dict[str, str]:
    """Path -> url. Raises Refused for a url that git could take for something else."""
    blob = f"--blob={commit}:.gitmodules"
    try:
        listed = await git.run("config", blob, "-z", "--list", timeout=LOCAL_SECONDS, step=STEP)
    except TrimtabError as error:
        raise Refused("there is no .gitmodules that can be read", step=STEP) from error
    paths: dict[str, str] = {}
    urls: dict[str, str] = {}
    for name, value in _settings(listed.decode(errors="replace")):
        section, _, rest = name.partition(".")
        module, _, field = rest.rpartition(".")
        if section == "submodule" and field == "path":
            paths[module] = value
        if section == "submodule" and field == "url":
            urls[module] = value
    return {path: urls[module] for module, path in paths.items() if module in urls}


def _settings(listed: str) -> Iterator[tuple[str, str]]:
    for item in listed.split("\0"):
        name, newline, value = item.partition("\n")
        if newline:
            yield name, value


def resolve_url(url: str, remote: Remote) -> str:
    """A submodule's URL, which may count from the repository's (gitmodules(5)). Raises Refused."""
    if url.startswith(("./", "../")):
        parts = urlsplit(remote.url)
        path = posixpath.normpath(posixpath.join(parts.path, url))
        return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    try:
        return read_git_url(url)
    except ValueError as error:
        raise Refused(str(error), step=STEP) from error
