"""What somebody who holds the repository or the way to it may send: refused, told, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.sources.git.followed import FollowedRepository
from reconciler.sources.git.refs import read_refs
from reconciler.sources.git.tree import read_entries
from reconciler.sources.sops import read_keys, unseal_file
from schemas.errors import Refused
from schemas.source import GitSource
from tests.sources.following import follow
from tests.sources.repositories import Repository

MADE = Path(__file__).parent / "sops_made"
KEYS = read_keys((MADE / "keys.txt").read_bytes())


def trouble(origin: Repository, directory: Path, **fields: str) -> str:
    git = GitSource.model_validate({"url": origin.url, **fields})
    followed = FollowedRepository(git, directory / "state", timeout=20)

    async def first() -> str:
        async with follow(followed) as following:
            return (await following.trouble()).message

    return asyncio.run(first())


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "origin")
    made.commit("first", a_yaml="a: 1\n")
    return made


def commit_tree(origin: Repository, *entries: tuple[str, str, str]) -> None:
    """A commit whose tree says what git itself would never write."""
    tree = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(object) for mode, name, object in entries)
    (origin.path.parent / "tree").write_bytes(tree)
    made = origin.git("hash-object", "-t", "tree", "-w", "--literally", str(origin.path.parent / "tree"))
    origin.git("update-ref", "refs/heads/main", origin.git("commit-tree", "-m", "hostile", made))


@pytest.mark.parametrize("name", ["..", ".", ".git", ".GIT", "a/../../x", "/etc"])
def test_a_tree_whose_names_climb_out_is_refused(origin: Repository, tmp_path: Path, name: str) -> None:
    blob = origin.git("rev-parse", "HEAD:a.yaml")
    commit_tree(origin, ("100644", name, blob), ("100644", "z.yaml", blob))
    assert trouble(origin, tmp_path)
    assert not list((tmp_path / "state").glob("tree/**/*"))


def test_a_link_and_a_directory_of_one_name_are_refused(origin: Repository, tmp_path: Path) -> None:
    (origin.path / "target").write_text("/etc")
    link = origin.git("hash-object", "-w", "target")
    folder = origin.git("rev-parse", "HEAD^{tree}")
    commit_tree(origin, ("120000", "x", link), ("40000", "x", folder))
    assert trouble(origin, tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/../../x", ".git/hooks/x", "a//b", "a\nb"])
def test_names_are_judged_even_if_git_lets_them_pass(name: str) -> None:
    with pytest.raises(Refused, match="holds a file named"):
        list(read_entries(f"100644 blob {'a' * 40}      12\t{name}\0".encode()))


def fake_git(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "bin").mkdir()
    (directory / "bin/git").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}/bin:{os.environ['PATH']}")


def test_an_endless_answer_is_cut_off(origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.sources.git.command.MOST_OUTPUT", 1 << 20)
    fake_git(tmp_path, f"exec {os.path.realpath('/bin/cat')} /dev/zero", monkeypatch)
    assert "answered more than 1 MiB" in trouble(origin, tmp_path)


def test_a_remotes_words_are_cut_and_cleaned(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_git(tmp_path, r"printf 'remote: \033]0;owned\007 %01000d\n' 7 >&2; exit 128", monkeypatch)
    message = trouble(origin, tmp_path)
    assert message.isprintable() and len(message) < 500


def test_refs_that_are_no_refs_are_passed_over() -> None:
    listed = f"fatal: no\nzz\trefs/heads/main\n{'a' * 39}\trefs/heads/main\n{'a' * 40} refs/heads/main\n"
    assert read_refs(listed) == {}


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["all.yaml", "content.yaml", "app.env", "token.bin", "all.json"]), st.data())
def test_a_damaged_sops_file_is_refused_or_reads_as_before(name: str, data: st.DataObject) -> None:
    """Never another exception, never another value."""
    content = bytearray((MADE / name).read_bytes())
    before = unseal_file(name, bytes(content), KEYS)
    at = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "drop", "double"]))
    if change == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif change == "cut":
        del content[at:]
    elif change == "drop":
        del content[at : at + data.draw(st.integers(1, 40))]
    else:
        content[at:at] = content[at : at + 40]
    try:
        after = unseal_file(name, bytes(content), KEYS)
    except Refused:
        return
    # what is left may hold nothing that was encrypted, and then is a plain file
    assert b"sops" not in content or is_same(name, before, after)


def is_same(name: str, before: bytes, after: bytes) -> bool:
    """The same values: comments, blanks, empty values and the names of plain ones are not what SOPS protects."""
    if name == "app.env":
        return lines_of(before) == lines_of(after)
    if name == "token.bin":
        return before == after
    return values_of(before) == values_of(after)


def lines_of(content: bytes) -> list[str]:
    return [line for line in content.decode().splitlines() if not line.endswith("=") and not line.startswith("#")]


def values_of(content: bytes) -> list[object]:
    return flat(list(yaml.load_all(content, Loader=yaml.CSafeLoader)))


def flat(value: object) -> list[object]:
    """Scalars in order; keys of encrypted values are bound to them, keys of plain ones are not."""
    if isinstance(value, dict):
        return [each for item in value.values() for each in flat(item)]
    if isinstance(value, list):
        return [each for item in value for each in flat(item)]
    return [number(value)] if value not in ("", None) else []


def number(value: object) -> object:
    """`1e06` is `1e+06`, which this reader, of YAML 1.1, takes for words."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_after_the_mark_is_refused_or_left_alone(garbage: bytes) -> None:
    content = b"a: ENC[AES256_GCM,data:" + garbage + b"\nsops: {mac: x}\n"
    with contextlib.suppress(Refused):
        assert isinstance(unseal_file("x.yaml", content, KEYS), bytes)
