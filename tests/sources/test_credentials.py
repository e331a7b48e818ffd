"""Passwords over https and keys over ssh: used where they belong, seen nowhere."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.sources.git.credentials import password_settings, read_credential, readable, ssh_command
from reconciler.sources.git.followed import FollowedRepository
from reconciler.sources.git.remote import read_remote
from reconciler.sources.revision import Revision, SourceTrouble
from schemas.errors import Refused
from schemas.source import GitSource
from tests.sources.following import follow
from tests.sources.https_server import Server, make_certificate, serve
from tests.sources.repositories import Repository

PASSWORD = "hunter2-t0k3n"
Fields = dict[str, Any]


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "served/shop")
    made.commit("first", a_yaml="a: 1\n")
    return made


def look(directory: Path, url: str, credential: bytes | None = None, **fields: Any) -> Revision | SourceTrouble:
    git = GitSource.model_validate({"url": url, **fields})
    followed = FollowedRepository(git, directory / "state", timeout=20, credential=lambda: credential)

    async def first() -> Revision | SourceTrouble:
        async with follow(followed) as following:
            return await asyncio.wait_for(following.queue.get(), 25)

    return asyncio.run(first())


def told(found: Revision | SourceTrouble) -> str:
    assert isinstance(found, SourceTrouble), found
    return found.message


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


@pytest.fixture
def server(origin: Repository, certificate: tuple[Path, Path]) -> Iterator[Server]:
    with serve(origin.path.parent, *certificate, f"git:{PASSWORD}") as server:
        yield server


def test_a_token_reaches_its_own_host_over_https(
    tmp_path: Path, server: Server, certificate: tuple[Path, Path]
) -> None:
    found = look(tmp_path, f"{server.url}/shop/.git", f"{PASSWORD}\n".encode(), ca=str(certificate[1]))
    assert isinstance(found, Revision), found
    assert server.authorization in server.authorizations
    for file in (tmp_path / "state").rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes()


def test_a_wrong_or_missing_password_is_told_without_it(
    tmp_path: Path, server: Server, certificate: tuple[Path, Path]
) -> None:
    ca = str(certificate[1])
    wrong = told(look(tmp_path / "1", f"{server.url}/shop/.git", b"git:wr0ngw0rd", ca=ca))
    assert "Authentication failed" in wrong and "wr0ngw0rd" not in wrong
    assert "could not read Username" in told(look(tmp_path / "2", f"{server.url}/shop/.git", ca=ca))


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path, server: Server) -> None:
    assert "certificate" in told(look(tmp_path, f"{server.url}/shop/.git", PASSWORD.encode()))
    assert not server.authorizations


def test_a_password_does_not_follow_a_redirect_to_another_host(
    tmp_path: Path, server: Server, certificate: tuple[Path, Path]
) -> None:
    with serve(tmp_path, *certificate, "nobody:nothing") as thief:
        server.redirect = f"https://127.0.0.1:{thief.server_address[1]}"
        told(look(tmp_path, f"{server.url}/shop/.git", PASSWORD.encode(), ca=str(certificate[1])))
        assert thief.authorizations
        assert set(thief.authorizations) == {None}


def test_a_password_is_never_sent_in_the_clear() -> None:
    with pytest.raises(Refused, match="in the clear over http"):
        password_settings(read_remote("http://example.com/shop"), "/proc/1/fd/3")


@pytest.mark.parametrize(
    ("content", "user", "lines"),
    [
        (b"token\n", "", b"username=git\npassword=token\n"),
        (b"token", "me", b"username=me\npassword=token\n"),
        (b"ada:pass:word\n", "me", b"username=ada\npassword=pass:word\n"),
    ],
)
def test_a_password_in_its_forms(content: bytes, user: str, lines: bytes) -> None:
    assert read_credential(content, user).content == lines


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"a\x00b", b"user:pass\nurl=https://evil"])
def test_what_could_tell_git_something_else_is_no_password(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read_credential(content)
    assert "evil" not in str(refused.value)


def test_a_credential_is_readable_as_long_as_it_is_needed() -> None:
    with readable(b"secret") as path:
        for _ in range(2):
            assert subprocess.run(["cat", path], capture_output=True, check=True).stdout == b"secret"
        assert not Path(path).readlink().is_file()
    assert not Path(path).exists()


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that notes how it was called and what it could read, and runs the command here."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(
        "#!/bin/sh\n"
        f'printf "%s\\n" "$@" > {tmp_path}/called; env > {tmp_path}/environment\n'
        f'for word; do case $word in IdentityFile=*) key=${{word#*=}}; key=${{key#\\"}}; key=${{key%\\"}};\n'
        f'cat "$key" > {tmp_path}/key; stat -Lc %a "$key" > {tmp_path}/mode;; esac; last=$word; done\n'
        'eval "$last"\n'
    )
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere/agent")
    return tmp_path


KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nnot a real one\n-----END OPENSSH PRIVATE KEY-----"


def test_ssh_gets_the_key_by_a_descriptor_and_trusts_known_hosts_only(fake_ssh: Path, origin: Repository) -> None:
    found = look(fake_ssh, f"git@example.com:{origin.path}", KEY, known_hosts="/etc/known hosts")
    assert isinstance(found, Revision), found
    called = (fake_ssh / "called").read_text()
    assert 'UserKnownHostsFile="/etc/known hosts"' in called
    for option in ("StrictHostKeyChecking=yes", "BatchMode=yes", "IdentityAgent=none", "IdentitiesOnly=yes"):
        assert option in called
    assert "not a real one" not in called + (fake_ssh / "environment").read_text()
    assert "SSH_AUTH_SOCK" not in (fake_ssh / "environment").read_text()
    assert (fake_ssh / "key").read_bytes() == KEY + b"\n"
    assert (fake_ssh / "mode").read_text() == "600\n"
    for file in (fake_ssh / "state").rglob("*"):
        assert not file.is_file() or b"not a real one" not in file.read_bytes()


def test_without_known_hosts_no_host_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.sources.git.credentials.KNOWN_HOSTS", Path("/nowhere"))
    assert 'UserKnownHostsFile="/dev/null"' in shlex.split(ssh_command(None, None))


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Callable[[], tuple[int, Fields, bytes]]]:
    """A real sshd on loopback that lets one key in; its port, the source's fields and the key."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("missing: sshd (Debian package openssh-server)")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n"
    )
    daemon = subprocess.Popen([program, "-D", "-e", "-f", str(tmp_path / "sshd_config")], stderr=subprocess.DEVNULL)
    try:
        wait_for(port, daemon)
        host = (tmp_path / "host.pub").read_text()
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}")
        key = (tmp_path / "user").read_bytes()
        yield lambda: (port, {"known_hosts": str(tmp_path / "known_hosts")}, key)
    finally:
        daemon.terminate()
        daemon.wait(10)


def wait_for(port: int, daemon: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if daemon.poll() is not None:
            pytest.skip("missing: an sshd that starts (its user sshd)")
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(port)


def test_a_real_sshd_lets_the_key_in_and_an_unknown_host_is_refused(
    tmp_path: Path, origin: Repository, sshd: Callable[[], tuple[int, Fields, bytes]]
) -> None:
    port, fields, key = sshd()
    url = f"ssh://root@127.0.0.1:{port}{origin.path}"
    found = look(tmp_path / "1", url, key, **fields)
    assert isinstance(found, Revision), found
    (tmp_path / "others").write_text("example.com ssh-ed25519 AAAA\n")
    assert "Host key verification failed" in told(look(tmp_path / "2", url, key, known_hosts=str(tmp_path / "others")))
    assert "Permission denied" in told(look(tmp_path / "3", url, **fields))
