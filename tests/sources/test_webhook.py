"""Webhooks as GitHub, Gitea, GitLab and Standard Webhooks sign them."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.sources.webhook import is_authentic, is_ping

SECRET = b"It's a Secret to Everybody"
BODY = b"Hello, World!"
GITHUB = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
"""The example in GitHub's documentation."""
NOW = 1_700_000_000.0


def standard(secret: bytes, at: float, body: bytes = BODY) -> dict[str, str]:
    signed = b"msg_1." + str(int(at)).encode() + b"." + body
    value = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at)), "webhook-signature": f"v1,AAAA v1,{value}"}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Hub-Signature-256": GITHUB},
        {"x-gitea-signature": GITHUB.removeprefix("sha256=")},
        {"X-Forgejo-Signature": GITHUB.removeprefix("sha256=").upper(), "X-Hub-Signature-256": GITHUB},
        {"X-Gitlab-Token": SECRET.decode()},
        standard(SECRET, NOW - 10),
    ],
)
def test_who_knows_the_secret_is_believed(headers: dict[str, str]) -> None:
    assert is_authentic(headers, BODY, SECRET, NOW)
    assert not is_authentic(headers, BODY, b"another secret", NOW)


def test_a_standard_webhook_may_have_its_key_in_base64() -> None:
    key = b"0123456789abcdef01234567"
    assert is_authentic(standard(key, NOW), BODY, b"whsec_" + base64.b64encode(key), NOW)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature": "sha1=" + hmac.new(SECRET, BODY, hashlib.sha1).hexdigest()},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        {"X-Hub-Signature-256": GITHUB, "X-Gitlab-Token": "wrong"},
        {"X-Hub-Signature-256": GITHUB + "\u0661"},
        {"X-Gitlab-Token": ""},
        standard(SECRET, NOW - 3600),
        standard(SECRET, NOW + 3600),
        {**standard(SECRET, NOW), "webhook-timestamp": "nan"},
        {**standard(SECRET, NOW), "webhook-id": "msg_2"},
    ],
)
def test_anything_else_is_not(headers: dict[str, str]) -> None:
    assert not is_authentic(headers, BODY, SECRET, NOW)


def test_an_empty_or_short_secret_opens_nothing() -> None:
    for secret in (b"", b"short"):
        signature = hmac.new(secret, BODY, hashlib.sha256).hexdigest()
        assert not is_authentic({"X-Hub-Signature-256": signature}, BODY, secret, NOW)
        assert not is_authentic({"X-Gitlab-Token": secret.decode()}, BODY, secret, NOW)


@given(st.binary(max_size=200), st.binary(min_size=8, max_size=40), st.integers(0, 199))
def test_a_changed_body_is_never_believed(body: bytes, secret: bytes, at: int) -> None:
    headers = {"X-Hub-Signature-256": hmac.new(secret, body, hashlib.sha256).hexdigest()}
    assert is_authentic(headers, body, secret, NOW)
    changed = bytearray(body + b"x")
    changed[min(at, len(body))] ^= 1
    assert not is_authentic(headers, bytes(changed), secret, NOW)


@given(
    st.dictionaries(
        st.sampled_from(["x-hub-signature-256", "x-gitlab-token", "webhook-signature", "webhook-id"]), st.text()
    )
)
def test_no_header_makes_it_fail(headers: dict[str, str]) -> None:
    assert not is_authentic(headers, BODY, SECRET, NOW) or SECRET.decode() in headers.values()


def test_a_ping_is_told_apart() -> None:
    assert is_ping({"X-GitHub-Event": "ping"})
    assert not is_ping({"X-GitHub-Event": "push"})
