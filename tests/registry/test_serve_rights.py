"""Rights per repository and tokens for passwords, asked by our own client and by skopeo; certificates that change."""

from __future__ import annotations

import base64
import errno
import json
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.registry.rights import ANYBODY, Rule, Visitor, read_rules, rights_of
from reconciler.registry.tokens import LIFE_SECONDS, Tokens, granted
from reconciler.registry.watched import Watched
from runtime.images.blobs import BlobStore
from runtime.images.platforms import Platform
from runtime.images.progress import ignore
from runtime.images.registry.pull import pull
from runtime.images.registry.push import copy
from runtime.images.registry.settings import HostSettings, RegistrySettings
from schemas.errors import Refused
from schemas.reference import Reference
from tests.conftest import missing
from tests.registry.distribution import make_certificates
from tests.registry.hosting import Host, engine, hosting
from tests.registry.samples import Address, image, layer_tar

PASSWORD = "wonderland"
RULES = """
# who    repositories   may
alice    team/**        pull,push,delete
bob      team/*         pull        # and no deeper
*        shared/*       pull,push
-        public/**      pull
"""
SAMPLE = image(layer_tar({"a": b"a"}))


@pytest.mark.parametrize(
    ("name", "repository", "rights"),
    [
        ("alice", "team/app", {"pull", "push", "delete"}),
        ("alice", "team/a/b", {"pull", "push", "delete"}),
        ("alice", "teams/app", set()),
        ("alice", "team", set()),
        ("bob", "team/app", {"pull"}),
        ("bob", "team/a/b", set()),
        ("bob", "shared/x", {"pull", "push"}),
        ("", "shared/x", set()),
        ("", "public/a/b", {"pull"}),
        ("bob", "public/a", {"pull"}),
        ("*", "team/app", set()),
        ("-", "team/app", set()),
    ],
)
def test_rights_are_those_of_all_lines_that_fit(name: str, repository: str, rights: set[str]) -> None:
    assert rights_of(read_rules(RULES), name, repository) == rights


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("alice team/*", "line 1 is not"),
        ("\nalice team/* pull push", "line 2 is not"),
        ("alice team/* read", "line 1 names rights"),
        ("alice Team/* pull", "line 1: 'Team"),
        ("alice team/[ab] pull", "fits no repository"),
    ],
)
def test_a_line_that_says_something_else_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_rules(text)


@given(st.text(alphabet="ab/.*-_", min_size=1, max_size=12), st.text(alphabet="ab/.-_", max_size=12))
def test_a_pattern_without_stars_fits_itself_alone(pattern: str, repository: str) -> None:
    rights = rights_of(read_rules(f"x {pattern} pull"), "x", repository)
    assert "*" in pattern or bool(rights) == (pattern == repository)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import bcrypt

    directory = tmp_path_factory.mktemp("rights")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (directory / "htpasswd").write_text(f"alice:{hashed}\nbob:{hashed}\n")
    (directory / "rights").write_text(RULES)
    return {name: directory / name for name in ("htpasswd", "rights")}


@pytest.fixture(scope="module", params=[False, True], ids=["basic", "tokens"])
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path]
) -> Iterator[Host]:
    """Team's, shared and public images are there; both ways of saying who one is."""
    layout = engine(tmp_path_factory.mktemp("ruled"))
    with hosting(layout) as open_to_all:
        for name in ("team/app", "team/a/b", "shared/x", "public/x", "secret/x"):
            assert open_to_all.push(name, "1", SAMPLE).status == 201
    with hosting(layout, Address("", "alice", PASSWORD), **files, tokens=request.param) as made:
        yield made


def client_of(host: Host, name: str, directory: Path) -> RegistrySettings:
    """Settings of our own client with that name's password, or nobody's."""
    auth = {"auth": base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()}
    file = directory / "config.json"
    file.write_text(json.dumps({"auths": {host.address.host: auth} if name else {}}))
    return RegistrySettings({host.address.host: HostSettings(insecure=True)}, docker_config=file, attempts=1)


@pytest.mark.parametrize(
    ("name", "repository", "may_pull", "may_push"),
    [
        ("alice", "team/app", True, True),
        ("alice", "public/x", True, False),
        ("alice", "secret/x", False, False),
        ("bob", "team/app", True, False),
        ("bob", "team/a/b", False, False),
        ("bob", "shared/x", True, True),
        ("", "public/x", True, False),
        ("", "team/app", False, False),
    ],
)
def test_our_client_gets_what_its_name_may_and_no_more(
    host: Host, tmp_path: Path, name: str, repository: str, may_pull: bool, may_push: bool
) -> None:
    settings, store = client_of(host, name, tmp_path), BlobStore(engine(tmp_path / "client"))
    reference = Reference.parse(f"{host.address.host}/{repository}:1")

    def pulled() -> str:
        return pull(store, reference, settings=settings, platform=Platform("linux", "amd64"), progress=ignore).digest

    def pushed() -> str:
        return copy(store, reference, replace(reference, tag="2"), settings=settings, progress=ignore)

    for may, deed in ((may_pull, pulled), (may_push, pushed)):
        if may:
            assert deed() == SAMPLE.digest
        else:
            with pytest.raises(Refused) as caught:
                deed()
            assert PASSWORD not in str(caught.value)


def skopeo(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("skopeo")
    if program is None:
        missing("skopeo")
        raise AssertionError
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False)


def test_skopeo_gets_what_its_name_may_and_no_more(host: Host, tmp_path: Path) -> None:
    where = f"docker://{host.address.host}"
    bob, alice = f"bob:{PASSWORD}", f"alice:{PASSWORD}"

    def copied(source: str, target: str, reader: str, writer: str) -> subprocess.CompletedProcess[str]:
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
        return skopeo("copy", *plain, "--src-creds", reader, "--dest-creds", writer, source, target)

    done = copied(f"{where}/team/app:1", f"{where}/shared/app:skopeo", bob, bob)
    assert done.returncode == 0, done.stderr
    assert copied(f"{where}/team/app:1", f"{where}/team/skopeo:1", bob, bob).returncode != 0
    assert copied(f"{where}/secret/x:1", f"dir:{tmp_path}/secret", alice, alice).returncode != 0
    assert skopeo("inspect", "--tls-verify=false", "--no-creds", f"{where}/public/x:1").returncode == 0
    assert skopeo("inspect", "--tls-verify=false", "--no-creds", f"{where}/team/app:1").returncode != 0
    for creds, may in ((bob, False), (alice, True)):
        done = skopeo("delete", "--tls-verify=false", "--creds", creds, f"{where}/team/a/b:1")
        assert (done.returncode == 0) == may, done.stderr
    with hosting(host.layout) as open_to_all:
        assert open_to_all.push("team/a/b", "1", SAMPLE).status == 201


def as_(host: Host, name: str) -> Host:
    return Host(Address(host.address.host, name, PASSWORD if name else ""), host.layout)


def test_repositories_are_listed_to_those_who_may_pull_from_them(host: Host) -> None:
    for name, hidden in (("alice", {"secret/x"}), ("bob", {"secret/x", "team/a/b"})):
        one = as_(host, name)
        seen = set(one.ask("GET", "/v2/_catalog").document["repositories"])
        assert {"public/x", "team/app", "shared/x"} <= seen and not seen & hidden
        first = one.ask("GET", "/v2/_catalog?n=1")
        assert len(first.document["repositories"]) == 1 and 'rel="next"' in first.headers["Link"]
        one.connection.close()
    nobody = as_(host, "")
    assert nobody.ask("GET", "/v2/_catalog").status == 401
    nobody.connection.close()


def test_a_blob_is_mounted_only_from_where_one_may_pull(host: Host) -> None:
    bob = as_(host, "bob")
    path = f"/v2/shared/new/blobs/uploads/?mount={SAMPLE.layers[0]}"
    for source, status in (("&from=secret/x", 202), ("&from=team/a/b", 202), ("", 202), ("&from=team/app", 201)):
        assert bob.ask("POST", path + source).status == status
    bob.connection.close()


def test_who_may_not_is_told_so_and_who_is_nobody_is_asked_for_a_name(host: Host) -> None:
    bob, nobody = as_(host, "bob"), as_(host, "")
    denied = bob.ask("PUT", "/v2/team/app/manifests/9", SAMPLE.content, Content_Type=SAMPLE.media_type)
    assert (denied.status, denied.code) == (403, "DENIED")
    assert bob.ask("DELETE", "/v2/team/app/manifests/1").status == 403
    asked = nobody.ask("GET", "/v2/team/app/manifests/1")
    assert (asked.status, asked.code) == (401, "UNAUTHORIZED")
    for one in (bob, nobody):
        one.connection.close()


def test_rights_that_change_count_at_once_for_tokens_too(tmp_path: Path, files: dict[str, Path]) -> None:
    rights, passwords = tmp_path / "rules", tmp_path / "names"
    rights.write_text(RULES)
    passwords.write_text(files["htpasswd"].read_text())
    with hosting(engine(tmp_path), htpasswd=passwords, rights=rights, tokens=True) as made:
        bob = as_(made, "bob")
        token = bob.ask("GET", "/token?service=x&scope=repository:shared/x:pull,push").document["token"]
        path = "/v2/shared/x/blobs/uploads/"
        assert bob.ask("POST", path, Authorization=f"Bearer {token}").status == 202
        rights.write_text("bob shared/* pull\n")
        assert bob.ask("POST", path, Authorization=f"Bearer {token}").status == 401
        rights.write_text("nonsense\n")
        assert bob.ask("POST", path, Authorization=f"Bearer {token}").status == 401
        assert bob.ask("POST", path).status == 403
        rights.write_text(RULES)
        assert bob.ask("POST", path, Authorization=f"Bearer {token}").status == 202
        passwords.write_text("# nobody\n")
        assert bob.ask("POST", path, Authorization=f"Bearer {token}").status == 401
        bob.connection.close()


def test_a_file_that_could_not_be_read_for_a_moment_counts_again(tmp_path: Path) -> None:
    file, broken = tmp_path / "rules", False
    file.write_text("bob a pull\n")

    def read(text: str) -> tuple[Rule, ...]:
        if broken:
            raise OSError(errno.EMFILE, "too many open files")
        return read_rules(text)

    watched: Watched[tuple[Rule, ...]] = Watched(file, "read rights", read, ())
    file.write_text("bob a pull,push\n")
    broken = True
    assert watched.now() == watched.now() == ()
    broken = False
    assert rights_of(watched.now(), "bob", "a") == {"pull", "push"}
    file.unlink()
    assert watched.now() == ()


def test_a_token_is_asked_for_by_the_address_the_client_uses_and_for_what_it_lacks(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    with hosting(engine(tmp_path), None, **files, tokens=True) as made:
        nobody = as_(made, "")
        told = nobody.ask("PUT", "/v2/team/app/manifests/1").headers["WWW-Authenticate"]
        assert f'Bearer realm="http://{made.address.host}/token"' in told
        assert 'scope="repository:team/app:pull,push"' in told
        alice = as_(made, "alice")
        said = alice.ask("GET", "/token?service=x&scope=repository:team/app:pull&scope=repository:secret/x:*")
        assert said.headers["Cache-Control"] == "no-store" and said.document["expires_in"] == LIFE_SECONDS
        token = f"Bearer {said.document['token']}"
        assert alice.ask("GET", "/v2/", Authorization=token).status == 200
        short = alice.ask("POST", "/v2/team/app/blobs/uploads/", Authorization=token)
        assert short.status == 401 and 'error="insufficient_scope"' in short.headers["WWW-Authenticate"]
        assert alice.ask("GET", "/token?service=x", Authorization="Basic YWxpY2U6eA==").status == 401
        assert alice.ask("POST", "/token").status == 404
        for one in (nobody, alice):
            one.connection.close()


def test_a_registry_without_tokens_gives_none(tmp_path: Path) -> None:
    with hosting(engine(tmp_path)) as made:
        assert made.ask("GET", "/token?service=x").status == 404


def test_a_token_that_is_not_ours_or_has_expired_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, may = Tokens(), (("team/app", frozenset({"pull"})),)
    token = str(tokens.answer("alice", may, "x")["token"])
    assert tokens.read(token) == ("alice", may)
    assert Tokens().read(token) is None
    head, body, signature = token.split(".")
    for wrong in (f"{head}.{body}.", f"{head}.{body[:-2]}AA.{signature}", f"{head}.{signature}", "", "é", token + "x"):
        assert tokens.read(wrong) is None
    later = time.time() + LIFE_SECONDS
    monkeypatch.setattr(time, "time", lambda: later)
    assert tokens.read(token) is None


def test_only_what_was_asked_for_and_may_be_is_granted() -> None:
    visitor = Visitor("bob", read_rules(RULES))
    scopes = [
        "repository:team/app:pull,push,delete repository:shared/x:*",
        "repository(plugin):shared/y:push",
        "registry:catalog:*",
        "repository:../x:pull",
        "repository:team/a/b:pull",
    ]
    assert granted(scopes, visitor) == (
        ("team/app", frozenset({"pull"})),
        ("shared/x", frozenset({"pull", "push"})),
        ("shared/y", frozenset({"push"})),
    )
    assert granted(scopes, Visitor(ANYBODY, ())) == ()


def serial(address: str, ca: Path) -> str:
    """Of the certificate that the registry shows to a new connection."""
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)), ca_certs=str(ca), timeout=20)


def test_a_renewed_certificate_is_shown_from_the_next_connection_on(tmp_path: Path) -> None:
    first, second = make_certificates(tmp_path / "one"), make_certificates(tmp_path / "two")
    shown = {"tls_certificate": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}

    def put(source: Path, *names: str) -> None:
        for name, suffix in (("tls_certificate", "crt"), ("tls_key", "key")):
            if suffix in names:
                new = shown[name].with_suffix(".new")
                shutil.copy(source / f"server.{suffix}", new)
                new.replace(shown[name])

    put(first, "crt", "key")
    context = ssl.create_default_context(cafile=first / "ca.crt")
    with hosting(engine(tmp_path), Address("", tls=context), **shown) as made:
        assert made.ask("GET", "/v2/").status == 200
        old = serial(made.address.host, first / "ca.crt")
        put(second, "crt")  # half of a renewal: the key is still the other's
        assert serial(made.address.host, first / "ca.crt") == old
        put(second, "key")
        assert serial(made.address.host, second / "ca.crt") != old
        # who was connected stays so
        assert made.ask("GET", "/v2/").status == 200


def test_a_hangup_does_not_end_the_registry(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    words = ("--root", str(layout.root), "--run", str(layout.run), "registry", "serve", "--listen", "127.0.0.1:0")
    command = [str(Path(sys.executable).with_name("trimtab")), *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as child:
        try:
            assert child.stderr is not None
            until(child.stderr, "ready")
            child.send_signal(signal.SIGHUP)
            until(child.stderr, "read when they change")
        finally:
            child.terminate()
    assert child.returncode == 0


def until(lines: Iterator[str], text: str) -> None:
    for line in lines:
        if text in line:
            return
    raise AssertionError(f"the registry never said {text!r}")
