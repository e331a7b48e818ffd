"""Passwords and tokens are seen by nobody: in no command line, no environment of a child, no output, no log."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from runtime.images.registry.credentials import Credentials
from runtime.images.registry.login import login
from runtime.images.registry.pull import resolve
from runtime.images.registry.settings import RegistrySettings
from schemas.errors import Refused
from schemas.reference import Reference
from tests.registry.conftest import insecure
from tests.registry.distribution import PASSWORD, USERNAME
from tests.registry.samples import Address, image, push

SPY = """#!/bin/sh
for process in /proc/self /proc/$PPID /proc/$$; do
  tr '\\0' '\\n' <$process/cmdline; tr '\\0' '\\n' <$process/environ
done >>{seen}
case $1 in
  get) echo '{{"Username": "{username}", "Secret": "{password}"}}' ;;
  store) cat >/dev/null ;;
esac
"""


@pytest.fixture
def seen(tmp_path: Path, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a credential helper sees of itself and of who called it."""
    programs, seen = tmp_path / "bin", tmp_path / "seen"
    programs.mkdir()
    helper = programs / "docker-credential-spy"
    helper.write_text(SPY.format(seen=seen, username=USERNAME, password=PASSWORD))
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert settings.docker_config is not None
    settings.docker_config.write_text('{"credsStore": "spy"}')
    return seen


@pytest.fixture
def locked(settings: RegistrySettings, locked_registry: Address) -> tuple[str, RegistrySettings]:
    push(locked_registry, "unseen", "1", image())
    return locked_registry.host, insecure(settings, locked_registry.host)


def encoded() -> str:
    return base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


def test_a_password_is_in_no_process_list_and_no_log(
    locked: tuple[str, RegistrySettings],
    seen: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    host, settings = locked
    with caplog.at_level(logging.DEBUG):
        login(host, Credentials(USERNAME, PASSWORD), settings)
        assert resolve(Reference.parse(f"{host}/unseen:1"), settings) == image().digest
        with pytest.raises(Refused) as caught:
            resolve(Reference.parse(f"{host}/missing:1"), settings)
    said = "".join((seen.read_text(errors="replace"), caplog.text, *capfd.readouterr(), str(caught.value)))
    assert "docker-credential-spy" in said
    assert PASSWORD not in said and encoded() not in said


def test_credentials_do_not_show_themselves() -> None:
    shown = repr(Credentials(USERNAME, PASSWORD, "identity-token", "registry-token"))
    for secret in (PASSWORD, "identity-token", "registry-token"):
        assert secret not in shown
