"""What is read from headers, files and settings: tables, no network."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from runtime.images.registry.challenge import Challenge, parse_challenges
from runtime.images.registry.credentials import Credentials, read_credentials
from runtime.images.registry.failures import shown
from runtime.images.registry.retry import jittered, retry_after
from runtime.images.registry.settings import HostSettings, RegistrySettings
from runtime.images.registry.transport import proxy_for
from schemas.errors import Refused

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (
            ['Bearer realm="https://a/t",service="a b",scope="repository:x:pull,push registry:y:*"'],
            [
                Challenge(
                    "bearer", {"realm": "https://a/t", "service": "a b", "scope": "repository:x:pull,push registry:y:*"}
                )
            ],
        ),
        (
            ['BASIC Realm=plain, bearer realm = "with \\"quotes\\", and commas"'],
            [Challenge("basic", {"realm": "plain"}), Challenge("bearer", {"realm": 'with "quotes", and commas'})],
        ),
        (["Negotiate", 'Basic realm="x"'], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (["Negotiate dG9rZW4=, Basic realm=x"], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (['Bearer realm="a",realm="b"'], [Challenge("bearer", {"realm": "a"})]),
        (['Bearer realm="unfinished'], [Challenge("bearer"), Challenge("realm")]),
        ([", ,Basic realm=x,,"], [Challenge("basic", {"realm": "x"})]),
        (['realm="nobody"', "", '"'], []),
    ],
)
def test_challenges_are_read_as_the_rfc_writes_them(lines: list[str], found: list[Challenge]) -> None:
    assert list(parse_challenges(lines)) == found


@given(st.text(max_size=300))
def test_no_challenge_is_too_strange_to_be_read(line: str) -> None:
    for challenge in parse_challenges([line]):
        assert challenge.scheme


def test_scopes_are_parted_by_spaces() -> None:
    assert Challenge("bearer", {"scope": "a:b:c  d:e:f"}).scopes == ("a:b:c", "d:e:f")
    assert Challenge("bearer").scopes == ()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


def test_pauses_double_up_to_the_cap_and_are_spread() -> None:
    settings = RegistrySettings(backoff=1.0, backoff_cap=5.0)
    assert [jittered(spent, settings, 1.0) for spent in (1, 2, 3, 4, 99)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert jittered(3, settings, 0.0) == 2.0


# settings


def test_settings_are_read_from_a_mapping() -> None:
    made = RegistrySettings.from_mapping(
        {
            "parallel_layers": 3,
            "stall_timeout": 5,
            "registries": {
                "docker.io": {"mirrors": ["mirror.lan:5000", "https://harbor.lan/hub/"]},
                "[::1]:5000": {"insecure": True},
                "registry.lan": {"ca": "/ca.pem", "cert": "/me.pem", "key": "/me.key"},
            },
        }
    )
    assert made == RegistrySettings(
        parallel_layers=3,
        stall_timeout=5.0,
        registries={
            "docker.io": HostSettings(mirrors=("mirror.lan:5000", "https://harbor.lan/hub/")),
            "[::1]:5000": HostSettings(insecure=True),
            "registry.lan": HostSettings(ca=Path("/ca.pem"), cert=Path("/me.pem"), key=Path("/me.key")),
        },
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"registries": {"a": {"insecre": True}}}, "registries.a.insecre: unknown field, did you mean insecure?"),
        ({"atempts": 3}, "atempts: unknown field, did you mean attempts?"),
        ({"zzz": 3}, "zzz: unknown field (registries.yaml)"),
        ({"attempts": 0}, "attempts must be 1 or more"),
        ({"attempts": "many"}, "attempts: Input should be a valid integer"),
        ({"parallel_layers": 17}, "parallel_layers must be 16 or less"),
        ({"stall_timeout": 0}, "stall_timeout must be more than 0 seconds"),
        ({"backoff": -1}, "backoff must be 0 seconds or more"),
        ({"stall_timeout": "nan"}, "stall_timeout must be more than 0 seconds"),
        ({"registries": {"a/b": {}}}, "'a/b' is not a registry"),
        ({"registries": {"../x": {}}}, "'../x' is not a registry"),
        ({"registries": {"a": {"cert": "/x"}}}, "registries.a: cert and key belong together"),
        ({"registries": {"a": {"mirrors": ["ftp://b"]}}}, "registries.a: 'ftp://b' is not a mirror"),
        ({"registries": {"a": {"mirrors": "b"}}}, "registries.a.mirrors"),
        ({"registries": ["a"]}, "registries: Input should be a valid dictionary"),
    ],
)
def test_wrong_settings_are_refused_with_their_place(content: dict[str, object], problem: str) -> None:
    with pytest.raises(Refused) as refusal:
        RegistrySettings.from_mapping(content)
    assert problem in str(refusal.value)


def test_every_problem_of_the_settings_is_told_at_once() -> None:
    with pytest.raises(Refused, match=r"attempts: .*; zzz: unknown field"):
        RegistrySettings.from_mapping({"attempts": "many", "zzz": 1})


# credentials


@pytest.mark.parametrize(
    ("key", "account", "known"),
    [
        ("registry.lan", "registry.lan", True),
        ("https://registry.lan", "registry.lan", True),
        ("https://registry.lan/v2/", "registry.lan", True),
        ("registry.lan:5000", "registry.lan:5000", True),
        ("registry.lan:5000", "registry.lan", False),
        ("registry.lan", "registry.lan:5000", False),
        ("registry.lan.evil.example", "registry.lan", False),
        ("evil.example/registry.lan", "registry.lan", False),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("docker.io", "docker.io", True),
        ("https://index.docker.io/v1/", "registry.lan", False),
    ],
)
def test_an_entry_is_for_its_own_registry(key: str, account: str, known: bool, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {key: {"auth": "YWxpY2U6d29uZDplcg=="}}}))
    found = read_credentials(account, RegistrySettings(docker_config=path))
    assert found == (Credentials("alice", "wond:er") if known else Credentials())


@pytest.mark.parametrize("content", ["[]", '{"auths": 3}', '{"auths": {"a": 3}}', '{"auths": {"a": {"auth": 3}}}', "7"])
def test_a_strange_config_file_holds_no_credentials(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    assert read_credentials("a", RegistrySettings(docker_config=tmp_path / "config.json")) == Credentials()


def test_a_damaged_entry_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"a": {"auth": "%%%"}}}')
    assert "damaged" in read_credentials("a", RegistrySettings(docker_config=tmp_path / "config.json")).problem


def test_secrets_are_not_in_the_text_of_credentials() -> None:
    assert "hunter2" not in repr(Credentials("alice", "hunter2", "hunter2", "hunter2"))


# addresses


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert shown(URL("https://user:word@a.example/v2/x?signature=1#f")) == "https://a.example/v2/x"


@pytest.mark.parametrize(
    ("address", "proxy"),
    [
        ("https://registry.example/v2/", "http://proxy.lan:3128"),
        ("http://registry.example/v2/", None),
        ("https://inside.lan/v2/", None),
        ("https://localhost:5000/v2/", None),
        ("https://127.0.0.1:5000/v2/", None),
        ("https://[::1]:5000/v2/", None),
    ],
)
def test_the_proxy_of_the_environment_is_used_but_not_for_this_machine(
    address: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.lan:3128")
    monkeypatch.setenv("no_proxy", ".lan")
    assert proxy_for(URL(address)) == proxy


def test_settings_are_imported_without_the_client() -> None:
    probe = "import sys, runtime.images.registry.settings; print({'aiohttp', 'pydantic', 'asyncio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
