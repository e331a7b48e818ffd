"""What `git ls-remote` lists, and which of it a source follows. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import Refused
from schemas.source import GitSource
from schemas.versions import read_range

_LINE = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\t(\S+)")
PEELED = "^{}"
HEADS, TAGS = "refs/heads/", "refs/tags/"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be fetched: `ref` (or a commit where the source stays at one), and the commit it was seen at."""

    ref: str
    commit: str
    name: str


def read_refs(listed: str) -> dict[str, str]:
    """Ref -> object, from the output of ls-remote. What is no such line is passed over."""
    return {found[2]: found[1] for line in listed.splitlines() if (found := _LINE.fullmatch(line))}


def patterns(git: GitSource) -> list[str]:
    """What to ask ls-remote for; nothing where a commit is named, which need not be asked for."""
    if git.branch is not None:
        return [HEADS + git.branch]
    if git.tag is not None:
        return [TAGS + git.tag, TAGS + git.tag + PEELED]
    if git.semver is not None:
        return [TAGS + "*"]
    return ["HEAD"]


def choose(git: GitSource, refs: Mapping[str, str]) -> Wanted:
    """The ref to follow and the commit it stands at now. Raises Refused where there is none."""
    if git.commit is not None:
        return Wanted(git.commit, git.commit, git.commit)
    if git.semver is not None:
        tags = [ref.removeprefix(TAGS) for ref in refs if ref.startswith(TAGS) and not ref.endswith(PEELED)]
        newest = read_range(git.semver).newest(tags)
        if newest is None:
            raise Refused(f"no tag is a version in {git.semver}", step="choose a tag", hint="push one, or widen it")
        return _tag(newest, refs)
    if git.tag is not None:
        return _tag(git.tag, refs)
    name = git.branch
    ref = HEADS + name if name is not None else "HEAD"
    if ref not in refs:
        missing = f"there is no branch {name}" if name is not None else "the repository has no branch yet"
        raise Refused(missing, step="list the refs", hint="push it, or name another")
    return Wanted(ref, refs[ref], name or "HEAD")


def _tag(name: str, refs: Mapping[str, str]) -> Wanted:
    """An annotated tag is an object of its own: what it was put on is listed beside it."""
    ref = TAGS + name
    if ref not in refs:
        raise Refused(f"there is no tag {name}", step="list the refs", hint="push it, or name another")
    return Wanted(ref, refs.get(ref + PEELED, refs[ref]), name)
