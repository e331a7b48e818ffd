"""A chosen image written into the manifest it is from: one commit on the branch that a Source follows.

Called by `following`. The file is read from the branch as it is now, the one value replaced, and the commit pushed,
never by force: a branch that moved meanwhile is tried again later. Comments and order of the file stay.
"""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from reconciler.claims import declared_of
from reconciler.sources.git.command import Git, environment_of, write_settings
from reconciler.sources.git.credentials import password_settings, read_credential, readable, ssh_command
from reconciler.sources.git.remote import read_remote
from reconciler.store.inventory import Entry
from runtime.layout import Layout
from runtime.volumes.secrets import read_secret_content
from schemas.envelope import Declared
from schemas.errors import Refused, RetryLater
from schemas.image import ImageSpec
from schemas.load import Text, read_text
from schemas.names import Key, Kind
from schemas.reference import Reference
from schemas.source import GitSource, SourceSpec
from schemas.spec_models import SPEC_MODELS

STEP = "write back"
SECONDS = 120.0
AUTHOR = {"NAME": "trimtab", "EMAIL": "trimtab@localhost"}
_KEY = re.compile(r"""["']?ref["']?\s*:\s*""")
_SCALAR = re.compile(r"""(["']?)([^\s"'#,}\]]+)\1""")


@dataclass(frozen=True, slots=True)
class WriteBack:
    """`reference`, with tag and digest, for the image of `entry`."""

    layout: Layout
    inventory: Mapping[Key, Entry]
    entry: Entry
    reference: str


async def write_back(wanted: WriteBack) -> None:
    """The branch says it then. Raises Refused, RetryLater."""
    name, source = _source(wanted)
    git = source.git
    assert git is not None
    with tempfile.TemporaryDirectory(prefix=".write-back-", dir=wanted.layout.run) as directory, ExitStack() as held:
        await _commit(wanted, name, git, Path(directory), held)


def _source(wanted: WriteBack) -> tuple[str, SourceSpec]:
    """Of the git Sources the one whose set the image is of. Raises Refused where there is none, or it has no branch."""
    for key, entry in wanted.inventory.items():
        spec = declared_of(entry).spec if key.kind is Kind.SOURCE else None
        if isinstance(spec, SourceSpec) and spec.git is not None and (spec.set or key.name) == wanted.entry.set:
            if spec.git.tag or spec.git.commit or spec.git.semver:
                raise Refused(f"Source/{key.name} follows no branch", step=STEP, hint="name a branch")
            return key.name, spec
    raise Refused(
        f"the set {wanted.entry.set} comes from no git Source", step=STEP, hint="leave write_back out, or add a Source"
    )


async def _commit(wanted: WriteBack, name: str, source: GitSource, directory: Path, held: ExitStack) -> None:
    git = _git(wanted.layout, source, directory, held)
    url = read_remote(source.url).url
    await git.run("init", "--quiet", "--bare", timeout=SECONDS, step=STEP)
    branch = f"refs/heads/{source.branch}" if source.branch else await _own_branch(git, url)
    await git.run(
        "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, f"{branch}:refs/here", timeout=SECONDS, step=STEP
    )
    path = await _path(git, source, wanted.entry.file)
    before = _text(await git.run("cat-file", "blob", f"refs/here:{path}", timeout=SECONDS, step=STEP), path)
    after = replaced(before, path, wanted.entry.key, wanted.reference)
    if after == before:
        return
    (directory / "content").write_bytes(after.encode())
    commit = await _objects(git, path, directory / "content", f"{wanted.entry.key}: {wanted.reference}")
    await git.run("push", "--quiet", "--", url, f"{commit}:{branch}", timeout=SECONDS, step=STEP)


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused("is not UTF-8 on the branch", step=STEP, path=path) from error


def _git(layout: Layout, source: GitSource, directory: Path, held: ExitStack) -> Git:
    remote, home = read_remote(source.url), directory / "home"
    home.mkdir()
    settings = [("http.sslCAInfo", source.ca)] if source.ca else []
    ssh = ssh_command(None, source.known_hosts)
    content = _credential(layout, source)
    if content is not None:
        credential = read_credential(content, remote.user)
        path = held.enter_context(readable(credential.content))
        if credential.is_key:
            ssh = ssh_command(path, source.known_hosts)
        else:
            settings += password_settings(remote, path)
    write_settings(home, settings)
    environment = environment_of(home, remote.scheme, ssh, os.environ)
    environment |= {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in AUTHOR.items()}
    return Git(directory / "repository", home, environment | {"GIT_INDEX_FILE": str(directory / "index")})


def _credential(layout: Layout, source: GitSource) -> bytes | None:
    if source.secret is not None:
        content = read_secret_content(layout, Kind.SECRET.value, source.secret)
        if content is None:
            raise RetryLater(f"Secret/{source.secret} is not there yet", step=STEP)
        return content
    return Path(source.credentials).read_bytes() if source.credentials is not None else None


async def _own_branch(git: Git, url: str) -> str:
    said = (await git.run("ls-remote", "--symref", "--", url, "HEAD", timeout=SECONDS, step=STEP)).decode()
    found = re.search(r"^ref: (refs/heads/\S+)\tHEAD$", said, re.MULTILINE)
    if found is None:
        raise Refused("the repository has no branch of its own", step=STEP, hint="name one in the Source")
    return found[1]


async def _path(git: Git, source: GitSource, file: str) -> str:
    """The file in the repository: the inventory names it from the repository's top, or from the Source's path."""
    listed = (await git.run("ls-tree", "-r", "-z", "--name-only", "refs/here", timeout=SECONDS, step=STEP)).decode()
    names = set(listed.split("\0"))
    for path in (file, posixpath.join(source.path or "", file)):
        if path in names:
            return path
    fitting = [each for each in names if each and file.endswith(f"/{each}")]
    if len(fitting) != 1:
        raise Refused(f"there is no {file} on the branch", step=STEP)
    return fitting[0]


async def _objects(git: Git, path: str, content: Path, message: str) -> str:
    """The commit of the branch with the file's new content."""

    async def said(*arguments: str) -> str:
        return (await git.run(*arguments, timeout=SECONDS, step=STEP)).decode().strip()

    mode = (await said("ls-tree", "refs/here", "--", path)).split()[0]
    blob = await said("hash-object", "-w", "--no-filters", "--", str(content))
    await said("read-tree", "refs/here")
    await said("update-index", "--cacheinfo", f"{mode},{blob},{path}")
    tree = await said("write-tree")
    return await said("commit-tree", "-p", "refs/here", "-m", message, tree)


def replaced(text: str, path: str, key: Key, reference: str) -> str:
    """The file with the image's `ref` set. Raises Refused where it does not stand there as plain text."""
    outcomes = read_text(SPEC_MODELS, Text(path, text), _Anything())
    found = (each for each in outcomes if isinstance(each, Declared))
    declared = next((each for each in found if each.key == key), None)
    if declared is None or not isinstance(declared.spec, ImageSpec):
        raise Refused(f"{key} is not in {path} on the branch, or not valid there", step=STEP, path=path)
    return _with_value(text, declared, reference)


def _with_value(text: str, declared: Declared, reference: str) -> str:
    place = declared.place(("spec", "ref"))
    lines = text.splitlines(keepends=True)
    line = lines[place.line - 1]
    start = place.column - 1
    key = _KEY.match(line, start)
    found = _SCALAR.match(line, key.end() if key is not None else start)
    wanted = Reference.parse(reference)
    if found is None or not _is_of(found[2], wanted):
        raise Refused(f"ref is not written out at {place}", step=STEP, hint="write the reference itself")
    lines[place.line - 1] = f"{line[: found.start()]}{found[1]}{reference}{found[1]}{line[found.end() :]}"
    return "".join(lines)


def _is_of(text: str, wanted: Reference) -> bool:
    try:
        return Reference.parse(text).name == wanted.name
    except ValueError:
        return False


class _Anything(dict[str, str]):
    """Variables of whoever applied are not known here, and what uses them is not written to."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> str:
        return "x"

    def get(self, name: str, default: object = None) -> str:
        return "x"
