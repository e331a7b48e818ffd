"""Logging in and out: what the registry accepts is kept as Docker keeps it, and nothing else."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.images.registry.credentials import Credentials, read_credentials
from runtime.images.registry.login import login, logout
from runtime.images.registry.settings import RegistrySettings
from schemas.errors import Refused
from tests.registry.conftest import insecure
from tests.registry.distribution import PASSWORD, USERNAME
from tests.registry.samples import Address


@pytest.fixture
def locked(settings: RegistrySettings, locked_registry: Address) -> tuple[str, RegistrySettings]:
    return locked_registry.host, insecure(settings, locked_registry.host)


def config(settings: RegistrySettings) -> Path:
    assert settings.docker_config is not None
    return settings.docker_config


def test_what_is_accepted_is_kept_for_its_owner_alone(locked: tuple[str, RegistrySettings]) -> None:
    host, settings = locked
    config(settings).write_text('{"auths": {"elsewhere": {"auth": "eDp5"}}, "psFormat": "x"}')
    login(host, Credentials(USERNAME, PASSWORD), settings)
    known = read_credentials(host, settings)
    assert (known.username, known.password) == (USERNAME, PASSWORD)
    assert stat.S_IMODE(config(settings).stat().st_mode) == 0o600
    kept = json.loads(config(settings).read_text())
    assert kept["psFormat"] == "x" and set(kept["auths"]) == {"elsewhere", host}
    assert list(config(settings).parent.glob(".config.json*")) == []


def test_what_is_not_accepted_is_not_kept(locked: tuple[str, RegistrySettings]) -> None:
    host, settings = locked
    with pytest.raises(Refused, match=r"login: .*wants to know who asks") as caught:
        login(host, Credentials(USERNAME, "wrong-secret"), settings)
    assert "wrong-secret" not in str(caught.value)
    assert not config(settings).exists()


def test_a_helper_keeps_them_and_the_file_does_not(
    locked: tuple[str, RegistrySettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, settings = locked
    programs = tmp_path / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-vault"
    helper.write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/verbs\ncat >> {tmp_path}/given\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    config(settings).write_text('{"credsStore": "vault"}')
    login(host, Credentials(USERNAME, PASSWORD), settings)
    assert json.loads((tmp_path / "given").read_text()) == {
        "ServerURL": host,
        "Username": USERNAME,
        "Secret": PASSWORD,
    }
    assert PASSWORD not in config(settings).read_text() and "auths" not in config(settings).read_text()
    assert logout(host, settings)
    assert (tmp_path / "verbs").read_text().split() == ["store", "erase"]


def test_logging_out_forgets_one_registry_alone(locked: tuple[str, RegistrySettings]) -> None:
    host, settings = locked
    login(host, Credentials(USERNAME, PASSWORD), settings)
    other = replace(settings)
    assert not logout("registry.invalid", other)
    assert logout(host, settings)
    assert read_credentials(host, settings) == Credentials()
    assert not logout(host, settings)
