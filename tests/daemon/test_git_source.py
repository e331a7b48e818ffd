"""A daemon that follows a git repository by a Source manifest: credentials, signatures, sealed secrets, a webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.process.client import read_process
from runtime.volumes.secrets import read_secret_content
from schemas.names import Kind
from tests.api.conftest import Asking
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import daemon
from tests.daemon.test_following import source
from tests.daemon.test_life import SOLO, wait_until
from tests.sources.https_server import make_certificate, serve
from tests.sources.repositories import Repository
from tests.sources.rosters import config
from tests.sources.test_signatures import allow, signer_line, ssh_key, ssh_settings

pytestmark = pytest.mark.kernel

MADE = Path(__file__).parents[1] / "sources" / "sops_made"
SEALED = 'pass: "wörd" \n two 😀'.encode()
"""What `content.yaml` there holds, decrypted."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    with making_engine() as made:
        yield made


def manifest(kind: str, name: str, **spec: Any) -> str:
    described = {"apiVersion": "trimtab/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return json.dumps(described) + "\n"


def content(engine: Engine, name: str, kind: Kind = Kind.CONFIG) -> bytes | None:
    return read_secret_content(engine.layout, kind.value, name)


def files_below(*tops: Path) -> Iterator[bytes]:
    for top in tops:
        yield from (path.read_bytes() for path in top.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_password_comes_from_a_secret_as_it_is_at_each_fetch(engine: Engine) -> None:
    origin = Repository(engine.base / "served/shop")
    origin.commit("first", a_yaml=config("a", "one"))
    key, certificate = make_certificate(engine.base)
    with serve(origin.path.parent, key, certificate, "git:right-pass-word") as server, daemon(engine) as served:
        git = {"url": f"{server.url}/shop/.git", "secret": "token", "ca": str(certificate)}
        engine.write("source.yaml", manifest("Source", "shop", git=git, interval="1h"))
        engine.write("token.yaml", manifest("Secret", "token", content="wrong-pass-word"))
        lone = engine.run("apply", "--set", "sources", "source.yaml")
        assert lone.code == 2 and "source.yaml:1" in lone.err and "token" in lone.err, lone
        engine.ok("apply", "--set", "sources", "source.yaml", "token.yaml")
        found = source(served, "Stalled", message="Authentication failed")
        assert "pass-word" not in str(found)
        engine.write("token.yaml", manifest("Secret", "token", content="right-pass-word"))
        engine.ok("apply", "--set", "sources", "source.yaml", "token.yaml")
        engine.ok("source", "fetch", "shop")
        source(served, "Ready")
        assert content(engine, "a") == b"one"
        assert all(b"right-pass-word" not in text for text in files_below(engine.layout.root / "sources"))


def test_a_credential_in_a_file_that_is_not_there_is_told_and_tried_again(engine: Engine) -> None:
    origin = Repository(engine.base / "served/shop")
    origin.commit("first", a_yaml=config("a", "one"))
    key, certificate = make_certificate(engine.base)
    with serve(origin.path.parent, key, certificate, "ann:pass-word") as server, daemon(engine) as served:
        git = {"url": f"{server.url}/shop/.git", "credentials": "./deploy", "ca": str(certificate)}
        engine.write("source.yaml", manifest("Source", "shop", git=git, interval="1s"))
        engine.ok("apply", "--set", "sources", "source.yaml")
        assert str(engine.base / "deploy") in source(served, "Stalled", message="No such file")["message"]
        engine.write("deploy", "ann:pass-word\n")
        source(served, "Ready")


@pytest.fixture
def shop(engine: Engine, busybox_tree: Path) -> Repository:
    """Signed commits by Ada: a container, and a Secret that SOPS has sealed."""
    ada = ssh_key(engine.base, "ada")
    allow(engine.base / "allowed", signer_line("ada@example.com", ada))
    made = Repository(engine.base / "shop", ssh_settings(ada))
    made.write("image.yaml", shop_manifest(busybox_tree).partition("---")[0])
    made.write("solo.yaml", SOLO)
    made.write("secret.yaml", (MADE / "content.yaml").read_text())
    made.commit("signed")
    return made


def test_an_unsigned_commit_is_shown_and_what_runs_stays(engine: Engine, shop: Repository) -> None:
    git = {"url": shop.url, "verify": {"allowed_signers": "./allowed"}}
    decrypt = {"file": str(MADE / "keys.txt")}
    engine.write("source.yaml", manifest("Source", "shop", git=git, interval="1s", decrypt=decrypt))
    with daemon(engine) as served:
        engine.ok("apply", "--set", "sources", "source.yaml")
        source(served, "Ready")
        before = read_process(engine.layout, "solo")
        unsigned = shop.commit("unsigned", "--no-gpg-sign", solo_yaml=SOLO.replace("name: solo", "name: other"))
        source(served, "Stalled", message="it is not signed")
        status = engine.run("status")
        assert status.code == 1 and unsigned[:12] in status.out and "it is not signed" in status.out, status
        after = read_process(engine.layout, "solo")
        assert before is not None and after is not None and (after.pid, after.phase) == (before.pid, before.phase)
        assert read_process(engine.layout, "other") is None
        shop.commit("signed", more_yaml=config("more"))
        source(served, "Ready")
        assert content(engine, "more") == b"x" and read_process(engine.layout, "solo") is None


def test_what_sops_has_sealed_in_git_is_open_on_the_tmpfs_alone(engine: Engine, shop: Repository) -> None:
    git = {"url": shop.url, "verify": {"allowed_signers": "./allowed"}}
    decrypt = {"file": str(MADE / "keys.txt")}
    engine.write("source.yaml", manifest("Source", "shop", git=git, decrypt=decrypt))
    with daemon(engine) as served:
        engine.ok("apply", "--set", "sources", "source.yaml")
        source(served, "Ready")
        assert content(engine, "db", Kind.SECRET) == SEALED
        assert "wörd" not in served.running.so_far().err
    # the repository's copy, the tree that its files stand in, the store with its history
    assert all("wörd".encode() not in text for text in files_below(engine.layout.root))


def test_a_webhook_brings_a_commit_long_before_the_next_look(engine: Engine) -> None:
    origin = Repository(engine.base / "shop")
    origin.commit("first", a_yaml=config("a", "one"))
    engine.write("hook.yaml", manifest("Secret", "hook", content="a-long-enough-secret"))
    settings = {"git": {"url": origin.url}, "interval": "1h", "webhook": {"secret": "hook"}}
    engine.write("source.yaml", manifest("Source", "shop", **settings))
    with daemon(engine) as served:
        engine.ok("apply", "--set", "sources", "source.yaml", "hook.yaml")
        source(served, "Ready")
        origin.commit("second", a_yaml=config("a", "two"))
        asking, body = Asking(served), json.dumps({"ref": "refs/heads/main"}).encode()
        assert asking.raw("POST", "/hooks/shop", body, **{"X-Hub-Signature-256": "sha256=0"})[0] == 403
        signature = hmac.new(b"a-long-enough-secret", body, hashlib.sha256).hexdigest()
        assert asking.raw("POST", "/hooks/shop", body, **{"X-Hub-Signature-256": f"sha256={signature}"})[0] == 202
        wait_until(lambda: content(engine, "a") == b"two", 30)
