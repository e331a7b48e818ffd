"""Who we are, and whom we tell: basic and token authentication, credentials and their helpers."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from runtime.images.registry.settings import RegistrySettings
from schemas.errors import Refused, RetryLater
from tests.registry.conftest import Pull
from tests.registry.distribution import PASSWORD, USERNAME
from tests.registry.fake import Asked, Fake, gives_token, redirect, status, wants_token
from tests.registry.samples import Address, image, push

BASIC = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


def log_in(settings: RegistrySettings, host: str, **entry: str) -> None:
    """Leave in config.json what `docker login` would."""
    assert settings.docker_config is not None
    made = entry or {"auth": base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()}
    settings.docker_config.write_text(json.dumps({"auths": {host: made}}))


# basic


def test_a_registry_with_a_password_is_read_with_it(
    locked_registry: Address, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = image()
    push(locked_registry, "secret", "v1", sample)
    log_in(settings, locked_registry.host)
    assert pull_from(locked_registry.host, "secret:v1").digest == sample.digest


def test_without_a_password_the_user_is_told_to_log_in(locked_registry: Address, pull_from: Pull) -> None:
    with pytest.raises(Refused, match=f"log in with `docker login {locked_registry.host}`"):
        pull_from(locked_registry.host, "secret:v1")


def test_a_wrong_password_is_refused_and_never_shown(
    locked_registry: Address, pull_from: Pull, settings: RegistrySettings
) -> None:
    log_in(settings, locked_registry.host, username=USERNAME, password="hunter2")
    with pytest.raises(Refused, match="log in") as refusal:
        pull_from(locked_registry.host, "secret:v1")
    assert "hunter2" not in str(refusal.value) + repr(refusal.value.__cause__)


def test_another_registrys_password_is_not_tried(fake: Fake, pull_from: Pull, settings: RegistrySettings) -> None:
    fake.gate = lambda asked: asked.send(401, WWW_Authenticate='Basic realm="x"')
    log_in(settings, "registry.example")
    with pytest.raises(Refused, match="log in"):
        pull_from(fake.host, "app:latest")
    assert {one.authorization for one in fake.seen} == {None}


# tokens


def test_a_token_is_fetched_for_the_scope_asked_for(fake: Fake, pull_from: Pull) -> None:
    sample = fake.hold(image())
    fake.gate = wants_token(f"http://{fake.host}/token?a=b")
    fake.script("/token", gives_token())
    assert pull_from(fake.host, "app:latest").digest == sample.digest

    (asked,) = fake.asked("/token")
    assert parse_qs(urlsplit(asked.path).query) == {
        "a": ["b"],
        "service": ["registry.test"],
        "scope": ["repository:app:pull"],
    }
    assert asked.authorization is None


def test_without_a_scope_the_repository_is_asked_for(fake: Fake, pull_from: Pull) -> None:
    fake.hold(image())
    fake.gate = wants_token(f"http://{fake.host}/token", scope=None)
    fake.script("/token", gives_token(name="access_token"))
    pull_from(fake.host, "team/app:latest")
    assert "scope=repository:team/app:pull" in fake.asked("/token")[0].path


def test_the_password_goes_to_the_token_service_only(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    fake.hold(image())
    fake.gate = wants_token(f"http://{other.host}/token")
    other.script("/token", gives_token())
    log_in(settings, fake.host)
    pull_from(fake.host, "app:latest")
    assert other.asked("/token")[0].authorization == BASIC
    assert "account=alice" in other.asked("/token")[0].path
    assert {one.authorization for one in fake.seen} == {None, "Bearer t0ken"}


def test_an_identity_token_is_posted_for_an_access_token(
    fake: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    fake.hold(image())
    fake.gate = wants_token(f"http://{fake.host}/token")
    fake.script("/token", gives_token(name="access_token"))
    log_in(settings, fake.host, identitytoken="long-lived")
    pull_from(fake.host, "app:latest")
    (asked,) = fake.asked("/token", "POST")
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "service": ["registry.test"],
        "client_id": ["trimtab"],
        "scope": ["repository:app:pull"],
        "refresh_token": ["long-lived"],
    }


def test_an_identity_token_is_not_posted_on_to_where_the_service_sends_us(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    fake.gate = wants_token(f"http://{fake.host}/token")
    fake.script("/token", redirect(f"http://{other.host}/token"))
    log_in(settings, fake.host, identitytoken="long-lived")
    with pytest.raises(Refused):
        pull_from(fake.host, "app:latest")
    assert other.seen == []


def test_a_registry_token_is_sent_as_it_is(fake: Fake, pull_from: Pull, settings: RegistrySettings) -> None:
    fake.hold(image())
    fake.gate = wants_token(f"http://{fake.host}/token")
    log_in(settings, fake.host, registrytoken="t0ken")
    pull_from(fake.host, "app:latest")
    assert fake.asked("/token") == []


def test_a_token_that_ends_on_the_way_is_renewed(fake: Fake, pull_from: Pull) -> None:
    sample = fake.hold(image())
    tokens = iter(["first", "second"])
    fake.script("/token", *(gives_token(token) for token in ("first", "second")))
    good = [next(tokens)]

    def gate(asked: Asked) -> bool:
        if asked.path.startswith("/token"):
            return False
        if "/blobs/" in asked.path and good == ["first"]:
            good[0] = next(tokens)
        if asked.headers.get("Authorization") == f"Bearer {good[0]}":
            return False
        asked.send(401, WWW_Authenticate=f'Bearer realm="http://{asked.fake.host}/token",service="s"')
        return True

    fake.gate = gate
    assert pull_from(fake.host, "app:latest").digest == sample.digest
    assert len(fake.asked("/token")) == 2


def test_a_token_service_that_denies_is_told_with_a_remedy(fake: Fake, pull_from: Pull) -> None:
    fake.gate = wants_token(f"http://{fake.host}/token?secret=1")
    fake.script("/token", status(403))
    with pytest.raises(Refused, match=r"get token: .* denies access.*log in") as refusal:
        pull_from(fake.host, "app:latest")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b"<html>", b'{"token": "a\\r\\nX-Evil: 1"}', b'{"token": 7}', b"[" * 9000]
)
def test_an_answer_without_a_token_is_refused(answer: bytes, fake: Fake, pull_from: Pull) -> None:
    fake.gate = wants_token(f"http://{fake.host}/token")
    fake.script("/token", status(200, answer))
    with pytest.raises(Refused, match="gave no token"):
        pull_from(fake.host, "app:latest")


@pytest.mark.parametrize("realm", ["", "ftp://x/", "/token", "http://", "http://user:word@127.0.0.1/", "http://[::1/"])
def test_a_realm_that_is_no_address_is_refused(realm: str, fake: Fake, pull_from: Pull) -> None:
    fake.gate = lambda asked: asked.send(401, WWW_Authenticate=f'Bearer realm="{realm}"')
    with pytest.raises(Refused, match=r"no usable token service|log in"):
        pull_from(fake.host, "app:latest")


def test_a_challenge_of_a_host_we_were_sent_to_is_not_answered(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = fake.hold(image())
    log_in(settings, fake.host)
    for digest in sample.blobs:
        fake.script(digest, *[redirect(f"http://{other.host}/storage")] * 9)
    other.gate = lambda asked: asked.send(401, WWW_Authenticate='Basic realm="give me"')
    with pytest.raises(RetryLater, match=f"{other.host} denies what the registry sent us to fetch"):
        pull_from(fake.host, "app:latest")
    assert {one.authorization for one in other.seen} == {None}


def test_authorization_is_left_behind_at_a_redirect_to_another_host(
    fake: Fake, other: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = fake.hold(image())
    other.blobs.update(sample.blobs)
    log_in(settings, fake.host)

    def gate(asked: Asked) -> bool:
        if asked.headers.get("Authorization") != BASIC:
            asked.send(401, WWW_Authenticate='Basic realm="x"')
        elif "/blobs/" in asked.path:
            asked.send(307, Location=f"http://{other.host}{asked.path}?signed=1")
        else:
            return False
        return True

    fake.gate = gate
    assert pull_from(fake.host, "app:latest").digest == sample.digest
    assert len(other.seen) == len(sample.blobs)
    assert {one.authorization for one in other.seen} == {None}


def test_authorization_stays_at_a_redirect_within_the_registry(
    fake: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = fake.hold(image())
    log_in(settings, fake.host)

    def gate(asked: Asked) -> bool:
        if asked.headers.get("Authorization") != BASIC:
            asked.send(401, WWW_Authenticate='Basic realm="x"')
            return True
        return False

    fake.gate = gate
    fake.script(sample.largest, redirect(f"/v2/elsewhere/blobs/{sample.largest}"))
    assert pull_from(fake.host, "app:latest").digest == sample.digest
    assert fake.asked(f"elsewhere/blobs/{sample.largest}")[0].authorization == BASIC


# credential helpers


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """docker-credential-test on PATH: says what the file `answer` beside it holds, and keeps what it was asked."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "docker-credential-test"
    program.write_text(f'#!/bin/sh\necho "$1" >>{directory}/asked\ncat >>{directory}/asked\n. {directory}/answer\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    yield directory


def use_helper(settings: RegistrySettings, **content: object) -> None:
    assert settings.docker_config is not None
    settings.docker_config.write_text(json.dumps(content))


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_credential_helper_is_asked(
    key: str, helper: Path, locked_registry: Address, pull_from: Pull, settings: RegistrySettings
) -> None:
    push(locked_registry, "helped", "v1", image())
    answer = json.dumps({"ServerURL": "x", "Username": USERNAME, "Secret": PASSWORD})
    (helper / "answer").write_text(f"echo '{answer}'\n")
    use_helper(settings, **{key: {locked_registry.host: "test"} if key == "credHelpers" else "test"})
    pull_from(locked_registry.host, "helped:v1")
    assert (helper / "asked").read_text() == f"get\n{locked_registry.host}"


def test_a_helper_may_know_an_identity_token(
    helper: Path, fake: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    fake.hold(image())
    fake.gate = wants_token(f"http://{fake.host}/token")
    fake.script("/token", gives_token())
    (helper / "answer").write_text("""echo '{"Username": "<token>", "Secret": "long-lived"}'\n""")
    use_helper(settings, credsStore="test")
    pull_from(fake.host, "app:latest")
    assert b"refresh_token=long-lived" in fake.asked("/token", "POST")[0].body


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exec sleep 30", "gave no answer in 0.3 s"),
        ("echo hunter2; exit 3", "failed with status 3"),
        ("echo hunter2", "did not answer with JSON"),
    ],
)
def test_a_helper_that_fails_is_told_when_access_is_denied_but_not_its_output(
    script: str, problem: str, helper: Path, locked_registry: Address, pull_from: Pull, settings: RegistrySettings
) -> None:
    (helper / "answer").write_text(script + "\n")
    use_helper(settings, credsStore="test")
    quick = replace(settings, helper_timeout=0.3)
    with pytest.raises(Refused, match=f"log in .*docker-credential-test {problem}") as refusal:
        pull_from(locked_registry.host, "helped:v1", with_settings=quick)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("name", ["missing", "../../bin/sh", "-x", ""])
def test_a_public_image_needs_no_working_helper(
    name: str, fake: Fake, pull_from: Pull, settings: RegistrySettings
) -> None:
    sample = fake.hold(image())
    fake.gate = wants_token(f"http://{fake.host}/token")
    fake.script("/token", gives_token())
    use_helper(settings, credsStore=name)
    assert pull_from(fake.host, "app:latest").digest == sample.digest


def test_a_helper_that_knows_nothing_leaves_the_file(
    helper: Path, locked_registry: Address, pull_from: Pull, settings: RegistrySettings
) -> None:
    push(locked_registry, "helped", "v1", image())
    (helper / "answer").write_text("echo credentials not found in native keychain; exit 1\n")
    use_helper(
        settings,
        credsStore="test",
        auths={f"https://{locked_registry.host}/v1/": {"auth": BASIC.removeprefix("Basic ")}},
    )
    pull_from(locked_registry.host, "helped:v1")


def test_docker_config_is_found_by_its_variable(
    locked_registry: Address, pull_from: Pull, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(locked_registry, "variable", "v1", image())
    log_in(settings, locked_registry.host)
    assert settings.docker_config is not None
    monkeypatch.setenv("DOCKER_CONFIG", str(settings.docker_config.parent))
    pull_from(locked_registry.host, "variable:v1", with_settings=replace(settings, docker_config=None))


def test_a_broken_config_file_is_named_and_not_quoted(
    locked_registry: Address, pull_from: Pull, settings: RegistrySettings
) -> None:
    assert settings.docker_config is not None
    settings.docker_config.write_text('{"auths": {"x": {"password": "hunter2"')
    with pytest.raises(Refused, match=r"this is not JSON .*config\.json") as refusal:
        pull_from(locked_registry.host, "secret:v1")
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None
