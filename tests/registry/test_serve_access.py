"""Who may use trimtab's own registry: passwords, TLS, and addresses that are closed unless somebody opens them."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.registry_passwd import forget, keep
from reconciler.registry.listening import read_listen, require_closed
from reconciler.registry.passwords import read_basic, read_hashes
from reconciler.registry.settings import Settings
from schemas.errors import Refused
from tests.registry.hosting import Host, engine, hosting
from tests.registry.samples import Address, image, layer_tar

PASSWORD = "wonderland"
ALICE = Address("", "alice", PASSWORD)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import bcrypt

    file = tmp_path_factory.mktemp("passwords") / "htpasswd"
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    file.write_text(f"# friends\nalice:{hashed.replace('$2b$', '$2y$', 1)}\n\n")
    return file


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, passwords: Path) -> Iterator[Host]:
    """Nobody without a password."""
    with hosting(engine(tmp_path_factory.mktemp("closed")), ALICE, htpasswd=passwords) as made:
        yield made


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v2/"), ("GET", "/v2/a/tags/list"), ("POST", "/v2/a/blobs/uploads/")]
)
def test_nobody_gets_in_without_a_password(closed: Host, method: str, path: str) -> None:
    said = closed.ask(method, path, Authorization="")
    assert (said.status, said.code) == (401, "UNAUTHORIZED")
    assert said.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(
    "given",
    [
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("bob", PASSWORD),
        basic("", PASSWORD),
        basic("alice", "x" * 100),
        basic("alice", PASSWORD + "\0"),
        "Basic !!!",
        "Basic",
        "Bearer x",
    ],
)
def test_nobody_gets_in_by_a_wrong_one(closed: Host, given: str) -> None:
    assert closed.ask("GET", "/v2/", Authorization=given).status == 401


def test_who_has_one_pushes_and_pulls(closed: Host) -> None:
    sample = image(layer_tar({"a": b"a"}))
    assert closed.push("team/app", "1", sample).status == 201
    assert closed.ask("GET", "/v2/team/app/manifests/1").body == sample.content


def test_a_password_is_asked_of_bcrypt_once_and_again_when_the_file_has_another(
    tmp_path: Path, passwords: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.registry import passwords as kept

    asked: list[bytes] = []
    honest = kept.matches

    def counting(password: bytes, hashed: bytes | None) -> bool:
        asked.append(password)
        return honest(password, hashed)

    monkeypatch.setattr(kept, "matches", counting)
    file = tmp_path / "htpasswd"
    file.write_text(passwords.read_text())
    with hosting(engine(tmp_path), ALICE, htpasswd=file) as host:
        assert [host.ask("GET", "/v2/").status for _ in range(3)] == [200] * 3
        assert len(asked) == 1
        file.write_text("# nobody\n")
        assert host.ask("GET", "/v2/").status == 401
        file.unlink()
        assert host.ask("GET", "/v2/").status == 401
        file.write_text("alice:plain\n")
        assert host.ask("GET", "/v2/").status == 401
        file.write_text(passwords.read_text())
        assert host.ask("GET", "/v2/").status == 200


def test_anybody_may_pull_where_that_is_said(tmp_path: Path, passwords: Path) -> None:
    sample = image(layer_tar({"a": b"a"}))
    with hosting(engine(tmp_path), ALICE, htpasswd=passwords, anonymous="pull") as host:
        host.push("team/app", "1", sample)
        stranger = Host(Address(host.address.host), host.layout)
        assert stranger.ask("GET", "/v2/team/app/manifests/1").body == sample.content
        assert stranger.ask("GET", f"/v2/team/app/blobs/{sample.layers[0]}").status == 200
        # a client that will log in must be told to
        assert stranger.ask("GET", "/v2/").status == 401
        for method, path in (
            ("POST", "/v2/team/app/blobs/uploads/"),
            ("PUT", "/v2/team/app/manifests/2"),
            ("DELETE", "/v2/team/app/manifests/1"),
        ):
            assert stranger.ask(method, path).status == 401
        stranger.connection.close()


def test_nobody_may_push_where_everybody_may_pull(tmp_path: Path) -> None:
    sample = image(layer_tar({"a": b"a"}))
    layout = engine(tmp_path)
    with hosting(layout) as host:
        host.push("team/app", "1", sample)
    with hosting(layout, anonymous="pull") as host:
        assert host.ask("GET", "/v2/").status == 200
        assert host.ask("GET", "/v2/team/app/manifests/1").body == sample.content
        for method, path in (
            ("POST", "/v2/team/app/blobs/uploads/"),
            ("GET", f"/v2/team/app/blobs/uploads/{'0' * 32}"),
            ("PUT", "/v2/team/app/manifests/2"),
            ("DELETE", "/v2/team/app/manifests/1"),
            ("DELETE", f"/v2/team/app/blobs/{sample.layers[0]}"),
        ):
            said = host.ask(method, path)
            assert (said.status, said.code) == (403, "DENIED")


def test_tls_is_spoken_where_there_is_a_certificate(tmp_path: Path, certificates: Path) -> None:
    context = ssl.create_default_context(cafile=certificates / "ca.crt")
    files = {"tls_certificate": certificates / "server.crt", "tls_key": certificates / "server.key"}
    with hosting(engine(tmp_path), Address("", tls=context), **files) as host:
        assert host.ask("GET", "/v2/").status == 200
        with pytest.raises((OSError, ValueError)):
            Host(Address(host.address.host), host.layout).ask("GET", "/v2/")


def test_clients_show_a_certificate_where_that_is_said(tmp_path: Path, certificates: Path) -> None:
    context = ssl.create_default_context(cafile=certificates / "ca.crt")
    context.load_cert_chain(certificates / "client.crt", certificates / "client.key")
    stranger = ssl.create_default_context(cafile=certificates / "ca.crt")
    files = {"tls_certificate": certificates / "server.crt", "tls_key": certificates / "server.key"}
    with hosting(engine(tmp_path), Address("", tls=context), **files, tls_ca=certificates / "ca.crt") as host:
        assert host.ask("GET", "/v2/").status == 200
        with pytest.raises(OSError):
            Host(Address(host.address.host, tls=stranger), host.layout).ask("GET", "/v2/")


CERTIFIED = {"tls_certificate": Path("c"), "tls_key": Path("k")}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "needs TLS"),
        ({"htpasswd": Path("x")}, "needs TLS"),
        (CERTIFIED, "needs passwords"),
        ({"insecure": True}, "needs passwords"),
        ({"htpasswd": Path("x"), "anonymous": "push", **CERTIFIED}, "useless"),
        ({"rights": Path("x"), "tls_ca": Path("x"), **CERTIFIED}, "--htpasswd"),
        ({"tokens": True, "tls_ca": Path("x"), **CERTIFIED}, "--htpasswd"),
        ({"htpasswd": Path("x"), "rights": Path("x"), "anonymous": "pull", **CERTIFIED}, "contradict"),
    ],
)
@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "registry.example.com"])
def test_what_others_can_reach_is_closed(address: str, settings: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        require_closed(Settings(host=address, **settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "127.0.0.1"},
        {"host": "::1"},
        {"host": "localhost"},
        {"host": "0.0.0.0", "htpasswd": Path("x"), **CERTIFIED},
        {"host": "0.0.0.0", "tls_ca": Path("x"), **CERTIFIED},
        {"host": "0.0.0.0", "anonymous": "push", "insecure": True},
    ],
)
def test_what_was_said_is_open(settings: dict[str, Any]) -> None:
    require_closed(Settings(**settings))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5001", ("127.0.0.1", 5001)),
        (":5001", ("127.0.0.1", 5001)),
        ("[::1]:5001", ("::1", 5001)),
        ("registry.lan", ("registry.lan", 5000)),
        ("[::1]", ("::1", 5000)),
    ],
)
def test_addresses_are_read(text: str, address: tuple[str, int]) -> None:
    assert read_listen(text) == address


@pytest.mark.parametrize("text", ["127.0.0.1:x", "127.0.0.1:70000", "a:٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_listen(text)


def test_a_line_without_bcrypt_is_refused() -> None:
    with pytest.raises(Refused, match="line 1 holds no bcrypt"):
        read_hashes("alice:$apr1$x$y\n")


def test_a_name_may_hold_no_colon_and_a_password_may() -> None:
    assert read_basic(basic("alice", "a:b")) == ("alice", b"a:b")


def test_passwords_are_written_as_htpasswd_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("reconciler.cli.registry_passwd.ROUNDS", 4)
    file = tmp_path / "htpasswd"
    for name in ("alice", "bob", "alice"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{name}'s\n"))
        keep(file, name, from_input=True)
    assert sorted(read_hashes(file.read_text())) == ["alice", "bob"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert "gone" in forget(file, "bob") and sorted(read_hashes(file.read_text())) == ["alice"]
    assert "nobody" in forget(file, "bob")
    for name, password in (("a:b", "x"), ("", "x"), ("carol", ""), ("carol", "x" * 73)):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        with pytest.raises(Refused):
            keep(file, name, from_input=True)
