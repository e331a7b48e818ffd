"""Commits signed with SSH and OpenPGP keys by the real git, and who is believed."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.sources.git.followed import FollowedRepository
from reconciler.sources.revision import Revision, SourceTrouble
from schemas.source import GitSource
from tests.conftest import missing
from tests.sources.following import follow, run
from tests.sources.repositories import Repository


def ssh_key(directory: Path, name: str) -> Path:
    path = directory / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True)
    return path


def ssh_settings(key: Path) -> dict[str, str]:
    return {"gpg.format": "ssh", "user.signingKey": str(key), "commit.gpgSign": "true"}


def allow(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o644)
    return path


def signer_line(who: str, key: Path, options: str = "") -> str:
    kind, value, _ = key.with_suffix(".pub").read_text().split()
    return " ".join(part for part in (who, options, kind, value) if part)


def source(origin: Repository, directory: Path, allowed: Path, **fields: Any) -> FollowedRepository:
    verify = {"allowed_signers": str(allowed)}
    git = GitSource.model_validate({"url": origin.url, "verify": verify, **fields})
    return FollowedRepository(git, directory / "state", interval=0.2, timeout=30)


def first(followed: FollowedRepository) -> Revision | SourceTrouble:
    async def look() -> Revision | SourceTrouble:
        async with follow(followed) as following:
            return await asyncio.wait_for(following.queue.get(), 20)

    return asyncio.run(look())


def refusal(followed: FollowedRepository) -> str:
    found = first(followed)
    assert isinstance(found, SourceTrouble), found
    return found.message


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    return {name: ssh_key(tmp_path, name) for name in ("ada", "eve")}


def test_a_commit_of_an_allowed_signer_is_a_revision(tmp_path: Path, keys: dict[str, Path]) -> None:
    origin = Repository(tmp_path / "shop", ssh_settings(keys["ada"]))
    commit = origin.commit("signed", a_yaml="a: 1\n")
    revision = first(source(origin, tmp_path, allow(tmp_path / "allowed", signer_line("ada@example.com", keys["ada"]))))
    assert isinstance(revision, Revision), revision
    assert revision.commit == commit and revision.signer.startswith("ada@example.com SHA256:")


def test_an_unsigned_or_foreign_commit_is_refused_and_the_old_stays(tmp_path: Path, keys: dict[str, Path]) -> None:
    origin = Repository(tmp_path / "shop", ssh_settings(keys["ada"]))
    good = origin.commit("signed", a_yaml="a: 1\n")
    allowed = allow(tmp_path / "allowed", signer_line("ada@example.com", keys["ada"]))

    async def scenario() -> None:
        async with follow(source(origin, tmp_path, allowed)) as following:
            assert (await following.revision()).commit == good
            unsigned = origin.commit("unsigned", "--no-gpg-sign", a_yaml="a: 2\n")
            trouble = await following.trouble()
            assert trouble.commit == unsigned and "it is not signed" in trouble.message
            origin.settings |= ssh_settings(keys["eve"])
            foreign = origin.commit("foreign", a_yaml="a: 3\n")
            trouble = await following.trouble()
            assert trouble.commit == foreign and "nobody who may sign" in trouble.message
            origin.settings |= ssh_settings(keys["ada"])
            again = origin.commit("signed again", a_yaml="a: 4\n")
            assert (await following.revision()).commit == again

    run(scenario)


def test_who_may_sign_can_change_while_the_commit_does_not(tmp_path: Path, keys: dict[str, Path]) -> None:
    origin = Repository(tmp_path / "shop", ssh_settings(keys["eve"]))
    origin.commit("signed", a_yaml="a: 1\n")
    allowed = allow(tmp_path / "allowed", signer_line("ada@example.com", keys["ada"]))

    async def scenario() -> None:
        async with follow(source(origin, tmp_path, allowed)) as following:
            await following.trouble()
            allow(allowed, signer_line("eve@example.com", keys["eve"]))
            assert (await following.revision()).signer.startswith("eve@example.com")
            allow(allowed, signer_line("ada@example.com", keys["ada"]))
            assert "nobody who may sign" in (await following.trouble()).message

    run(scenario)


def test_a_signature_out_of_its_time_is_refused(tmp_path: Path, keys: dict[str, Path]) -> None:
    origin = Repository(tmp_path / "shop", ssh_settings(keys["ada"]))
    origin.commit("signed", a_yaml="a: 1\n")
    line = signer_line("ada@example.com", keys["ada"], 'valid-before="20200101"')
    assert "is refused" in refusal(source(origin, tmp_path, allow(tmp_path / "allowed", line)))


def test_a_signature_of_another_commit_is_refused(tmp_path: Path, keys: dict[str, Path]) -> None:
    origin = Repository(tmp_path / "shop", ssh_settings(keys["ada"]))
    commit = origin.commit("signed", a_yaml="a: 1\n")
    content = origin.git("cat-file", "commit", commit) + "\n"
    (tmp_path / "forged").write_text(content.replace("\n\nsigned", "\n\nforged"))
    forged = origin.git("hash-object", "-t", "commit", "-w", str(tmp_path / "forged"))
    origin.git("update-ref", "refs/heads/main", forged)
    allowed = allow(tmp_path / "allowed", signer_line("ada@example.com", keys["ada"]))
    assert "its signature is not good" in refusal(source(origin, tmp_path, allowed))


def test_allowed_signers_that_others_may_write_are_refused(tmp_path: Path, keys: dict[str, Path]) -> None:
    origin = Repository(tmp_path / "shop", ssh_settings(keys["ada"]))
    origin.commit("signed", a_yaml="a: 1\n")
    allowed = allow(tmp_path / "allowed", signer_line("ada@example.com", keys["ada"]))
    allowed.chmod(0o666)
    assert "others than its owner may write" in refusal(source(origin, tmp_path, allowed))
    allowed.chmod(0o600)
    allowed.write_text("\n")
    assert "no allowed signers" in refusal(source(origin, tmp_path / "2", allowed))
    allowed.unlink()
    assert "No such file" in refusal(source(origin, tmp_path / "3", allowed))


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Ada's and Eve's OpenPGP keys, in a home of their own with a short path."""
    if subprocess.run(["sh", "-c", "command -v gpg"], capture_output=True, check=False).returncode:
        missing("gpg (Debian package gnupg)")
    import shutil
    import tempfile

    home = Path(tempfile.mkdtemp(prefix="tt-gpg-", dir="/tmp"))
    monkeypatch.setenv("GNUPGHOME", str(home))
    for name in ("ada", "eve"):
        made = ["--quick-generate-key", f"{name}@example.com", "ed25519", "sign", "never"]
        gpg("--passphrase", "", *made)
    try:
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def gpg(*arguments: str) -> str:
    made = subprocess.run(
        ["gpg", "--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def pgp_settings(name: str) -> dict[str, str]:
    return {"gpg.format": "openpgp", "user.signingKey": f"{name}@example.com", "commit.gpgSign": "true"}


def test_openpgp_signers_are_believed_if_their_key_is_in_the_ring(tmp_path: Path, keyring: Path) -> None:
    origin = Repository(tmp_path / "shop", pgp_settings("ada"))
    origin.commit("signed", a_yaml="a: 1\n")
    armour = allow(tmp_path / "ada.asc", gpg("--armor", "--export", "ada@example.com"))
    revision = first(source(origin, tmp_path / "1", armour))
    assert isinstance(revision, Revision), revision
    assert revision.signer == "ada@example.com"
    gpg("--output", str(tmp_path / "ada.gpg"), "--export", "ada@example.com")
    (tmp_path / "ada.gpg").chmod(0o600)
    assert isinstance(first(source(origin, tmp_path / "2", tmp_path / "ada.gpg")), Revision)
    eve = allow(tmp_path / "eve.asc", gpg("--armor", "--export", "eve@example.com"))
    assert "nobody who may sign" in refusal(source(origin, tmp_path / "3", eve))
    origin.commit("unsigned", "--no-gpg-sign", a_yaml="a: 2\n")
    assert "it is not signed" in refusal(source(origin, tmp_path / "4", armour))
    broken = allow(tmp_path / "broken.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----", "garbage")
    origin.commit("signed", a_yaml="a: 3\n")
    assert "gpg cannot read" in refusal(source(origin, tmp_path / "5", broken))


def test_a_signature_of_one_kind_never_passes_a_list_of_the_other(tmp_path: Path, keyring: Path) -> None:
    key = ssh_key(tmp_path, "ada")
    origin = Repository(tmp_path / "shop", pgp_settings("ada"))
    origin.commit("by gpg", a_yaml="a: 1\n")
    ssh_list = allow(tmp_path / "allowed", signer_line("ada@example.com", key))
    assert "is refused" in refusal(source(origin, tmp_path / "1", ssh_list))
    origin.settings |= ssh_settings(key)
    origin.commit("by ssh", a_yaml="a: 2\n")
    ring = allow(tmp_path / "ada.asc", gpg("--armor", "--export", "ada@example.com"))
    assert "is refused" in refusal(source(origin, tmp_path / "2", ring))
