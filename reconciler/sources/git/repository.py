"""What is asked of a repository: its refs, one commit of it, the files of that commit.

The copy is bare and shallow, and ours alone: when it is damaged it is thrown away. Commits in use have a ref each, so
that the one applied last is still there when a newer one is refused.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.sources.git.command import MOST_FILE, Git
from reconciler.sources.git.refs import Wanted, read_refs
from reconciler.sources.git.tree import Entry, read_entries
from schemas.errors import Refused, TrimtabError

FOLLOWED = "refs/trimtab/followed"
KEPT = "refs/trimtab/kept/"
LOCAL_SECONDS = 60.0
"""For a question that needs no network."""
MOST_COPY = MOST_FILE
_DAMAGE = re.compile(
    r"corrupt|bad object|unable to read|loose object|not a git repository|inflate|index file|lacks the object"
    r"|bad tree|cannot lock ref|shallow file",
    re.IGNORECASE,
)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Commit:
    """`message` is its subject; `at` its committer's time in seconds since the epoch."""

    id: str
    message: str
    at: float


async def ensure_repository(git: Git) -> None:
    """An empty bare repository, unless there is one."""
    if (git.repository / "HEAD").exists():
        return
    shutil.rmtree(git.repository, ignore_errors=True)
    git.repository.mkdir(mode=0o700, parents=True)
    await git.run("init", "--quiet", "--bare", timeout=LOCAL_SECONDS, step="make its copy")


def discard(git: Git) -> None:
    shutil.rmtree(git.repository, ignore_errors=True)


async def list_refs(git: Git, url: str, patterns: Iterable[str], timeout: float) -> dict[str, str]:
    listed = await git.run("ls-remote", "--quiet", "--", url, *patterns, timeout=timeout, step="list the refs")
    return read_refs(listed.decode(errors="replace"))


async def fetch(git: Git, url: str, wanted: Wanted, timeout: float) -> str:
    """Have the commit here that `wanted` stands at now; its id. Raises Refused, RetryLater."""
    options = ["--quiet", "--no-tags", "--force", "--no-write-fetch-head", "--no-recurse-submodules"]
    await ensure_repository(git)
    step = "fetch"
    try:
        refspec = f"+{wanted.ref}:{FOLLOWED}"
        await git.run("fetch", *options, "--depth=1", "--", url, refspec, timeout=timeout, step=step)
    except Refused:
        if not _COMMIT.fullmatch(wanted.ref):
            raise
        # a server may give out the ends of branches only
        every = ("+refs/heads/*:refs/trimtab/heads/*", "+refs/tags/*:refs/trimtab/tags/*")
        unshallow = ["--unshallow"] if (git.repository / "shallow").exists() else []
        await git.run("fetch", *options, *unshallow, "--", url, *every, timeout=timeout, step=step)
        return await resolve(git, wanted.ref)
    return await resolve(git, FOLLOWED)


async def resolve(git: Git, name: str) -> str:
    """The commit that a ref or tag leads to. Raises Refused where it leads to none."""
    try:
        found = await git.run(
            *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"),
            timeout=LOCAL_SECONDS,
            step="find the commit",
        )
    except TrimtabError as error:
        raise Refused(f"there is no commit {name}", step="find the commit", hint="name another") from error
    return found.decode().strip()


async def keep(git: Git, commits: Iterable[str]) -> None:
    """Keep exactly these commits, so that nothing of them is taken away."""
    wanted = {f"{KEPT}{commit}": commit for commit in commits}
    listed = await git.run("for-each-ref", "--format=%(refname)", KEPT, timeout=LOCAL_SECONDS, step="keep the commit")
    for ref in set(listed.decode().split()) - wanted.keys():
        await git.run("update-ref", "-d", ref, timeout=LOCAL_SECONDS, step="keep the commit")
    for ref, commit in wanted.items():
        await git.run("update-ref", ref, commit, timeout=LOCAL_SECONDS, step="keep the commit")


async def tidy(git: Git) -> None:
    """Take away what no commit in use needs. That it cannot be done is no trouble of the source's."""
    try:
        await git.run("reflog", "expire", "--expire=now", "--all", timeout=LOCAL_SECONDS, step="tidy")
        await git.run("gc", "--quiet", "--prune=now", timeout=5 * LOCAL_SECONDS, step="tidy")
    except TrimtabError:
        return


async def read_commit(git: Git, commit: str) -> Commit:
    shown = await git.run(
        *("log", "-1", "--no-show-signature", "--format=%H%x00%ct%x00%s", commit, "--"),
        timeout=LOCAL_SECONDS,
        step="read the commit",
    )
    id, at, subject = shown.decode(errors="replace").rstrip("\n").split("\0", 2)
    message = "".join(letter for letter in subject if letter.isprintable())
    return Commit(id, message[:200], float(at))


async def list_files(git: Git, commit: str) -> list[Entry]:
    """Every file of the commit. Raises Refused for names that are none."""
    listed = await git.run(
        "ls-tree", "-r", "-z", "-l", "--full-tree", commit, timeout=LOCAL_SECONDS, step="list the files"
    )
    return list(read_entries(listed))


def is_damage(message: str) -> bool:
    """Whether git complains of its own copy."""
    return _DAMAGE.search(message) is not None


def is_large(git: Git) -> bool:
    """Whether the copy has outgrown what a shallow one should be."""
    return sum(file.stat().st_size for file in git.repository.rglob("*.pack")) > MOST_COPY // 4
