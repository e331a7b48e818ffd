"""Have a commit's files stand in a directory, for what manifests point at: env_files, contents of Secrets, bind mounts.

The directory keeps its path from commit to commit, and a file that did not change is not touched, so that a mount of it
stays as it is. Each changed file is put in place by a rename. Content comes from `git cat-file --batch`, one file at a
time. Blocks; called in a thread.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from reconciler.sources.git.command import Git
from reconciler.sources.git.tree import FILE, LINK, PROGRAM, Entry
from schemas.errors import RetryLater

CHUNK = 1 << 20
MODES = {FILE: 0o644, PROGRAM: 0o755}
TEMPORARY = ".trimtab-new"


def ensure_tree(git: Git, directory: Path, entries: Iterable[Entry], targets: Mapping[str, str]) -> None:
    """Make `directory` hold exactly these files. Raises RetryLater when git or the disk fails; then do it again."""
    files = {entry.path: entry for entry in entries if entry.mode in MODES or entry.mode == LINK}
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_others(directory, files)
        missing = [entry for entry in files.values() if not _stands(directory / entry.path, entry, targets)]
        _write(git, directory, missing, targets)
    except OSError as error:
        raise RetryLater(
            error.strerror or "failed",
            step="write the commit's files",
            path=str(error.filename or ""),
            errno=error.errno,
        ) from error


def _remove_others(directory: Path, files: Mapping[str, Entry]) -> None:
    """Whatever is no file of the commit, and whatever stands where a directory must."""
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    for root, names, others in os.walk(directory):
        for name in [*names, *others]:
            path = Path(root, name)
            inside = str(path.relative_to(directory))
            is_folder = path.is_dir() and not path.is_symlink()
            if inside in folders if is_folder else inside in files:
                continue
            if is_folder:
                shutil.rmtree(path)
                names.remove(name)
            else:
                path.unlink()


def _stands(path: Path, entry: Entry, targets: Mapping[str, str]) -> bool:
    """Whether the file is there as the commit has it, by git's own name for its content."""
    try:
        status = path.lstat()
        if entry.mode == LINK:
            return stat.S_ISLNK(status.st_mode) and str(path.readlink()) == targets[entry.path]
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return False
        return stat.S_IMODE(status.st_mode) == MODES[entry.mode] and _name_of(path, entry) == entry.object
    except FileNotFoundError:
        return False


def _name_of(path: Path, entry: Entry) -> str:
    digest = hashlib.sha1(usedforsecurity=False) if len(entry.object) == 40 else hashlib.sha256()
    digest.update(f"blob {entry.size}\0".encode())
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _write(git: Git, directory: Path, entries: Sequence[Entry], targets: Mapping[str, str]) -> None:
    with _batch(git) as (ask, answer):
        for entry in entries:
            path = directory / entry.path
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            temporary = path.parent / TEMPORARY
            temporary.unlink(missing_ok=True)
            if entry.mode == LINK:
                temporary.symlink_to(targets[entry.path])
            else:
                with temporary.open("xb") as file:
                    for chunk in read_object(ask, answer, entry.object):
                        file.write(chunk)
                    os.fchmod(file.fileno(), MODES[entry.mode])
            temporary.rename(path)


@contextmanager
def _batch(git: Git) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A git that answers with the content of each object it is asked for."""
    process = subprocess.Popen(
        ["git", f"--git-dir={git.repository}", "cat-file", "--batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(git.environment),
        cwd=git.home,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdin, process.stdout
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


def read_object(ask: IO[bytes], answer: IO[bytes], object: str) -> Iterator[bytes]:
    """The content of one object, in pieces (git-cat-file(1), BATCH OUTPUT). Raises RetryLater where it is missing."""
    ask.write(f"{object}\n".encode())
    ask.flush()
    head = answer.readline().split()
    if len(head) != 3 or head[1] != b"blob":
        raise RetryLater(f"the copy lacks the object {object}", step="read a file")
    left = int(head[2])
    while left:
        chunk = answer.read(min(left, CHUNK))
        if not chunk:
            raise RetryLater("git ended early", step="read a file")
        left -= len(chunk)
        yield chunk
    answer.read(1)


def read_objects(git: Git, objects: Sequence[str]) -> dict[str, bytes]:
    """The content of each object."""
    with _batch(git) as (ask, answer):
        return {object: b"".join(read_object(ask, answer, object)) for object in objects}
