"""Requests made from the API's own description, right ones and wrong ones: each answer is one that is declared."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from reconciler.api.declared import JSON
from reconciler.api.openapi import openapi
from reconciler.api.routes import ROUTES
from tests.api.conftest import Asking
from tests.api.followers import held, under_way, until
from tests.cli.conftest import shop_manifest
from tests.cli.engine import making_engine
from tests.daemon.running import Daemon, daemon

pytestmark = pytest.mark.kernel

SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi(ROUTES))))
FOUND = [each.ok() for each in SCHEMA.get_all_operations() if isinstance(each, Ok)]
OPERATIONS = {f"{found.method.upper()} {found.path}": found for found in FOUND}
FOLLOWS = frozenset({"GET /v1/watch", "GET /v1/events", "GET /v1/containers/{name}/logs"})
"""They may answer until somebody leaves: that their answer begins is enough."""
COMMANDS = (
    ["get"],
    ["events"],
    ["history"],
    ["validate"],
    ["diff"],
    ["why"],
    ["logs"],
    ["image", "ls"],
    ["volume", "ls"],
)
"""Words that a daemon understands, before those that were made up; none of them does any harm."""
TRIES = 25
ASKED = (
    ("/v1/objects", 200),
    ("/v1/watch", 200),
    ("/v1/events?follow=true", 200),
    *((f"/v1/containers/db/logs?tail={number}", 200) for number in range(4)),
    ("/v1/objects/container/nobody", 404),
    ("/v1/watch?resourceVersion=x", 422),
    ("/v1/health", 200),
    ("/metrics", 200),
)


@pytest.fixture(scope="module")
def base(busybox_tree: Path) -> Iterator[tuple[Daemon, str]]:
    with making_engine() as engine:
        engine.write("shop.yaml", shop_manifest(busybox_tree))
        engine.ok("-H", "none", "apply", "--set", "shop", "shop.yaml")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        listen = ("--listen", f"tcp://127.0.0.1:{port}", "--listen", f"unix://{engine.layout.api_socket}")
        with daemon(engine, "--insecure-tcp", *listen) as served:
            yield served, f"http://127.0.0.1:{port}"
            assert '"fault"' not in served.running.so_far().err, served.running.so_far().err[-4000:]


def meant(name: str, case: Any) -> None:
    """Some of the command lines are such as somebody would give."""
    if name == "POST /v1/commands" and isinstance(case.body, dict) and isinstance(case.body.get("words"), list):
        words = case.body["words"]
        if len(words) > 1:
            case.body["words"] = [*COMMANDS[sum(map(len, map(str, words))) % len(COMMANDS)], *words[1:]]


def answered(name: str, case: Any, url: str) -> tuple[int, str | None, bytes]:
    """Status, when to try again, body; of a stream that has begun nothing."""
    with requests.request(**case.as_transport_kwargs(base_url=url), stream=True, timeout=30) as answer:
        begun = name in FOLLOWS and answer.status_code == 200
        return answer.status_code, answer.headers.get("retry-after"), b"" if begun else answer.content


def can_be_wrong(name: str) -> bool:
    """Whether there is a parameter or a body of which something is asked."""
    raw = OPERATIONS[name].definition.raw
    is_bytes = "application/octet-stream" in raw.get("requestBody", {}).get("content", {})
    return any(each["in"] == "query" for each in raw["parameters"]) or ("requestBody" in raw and not is_bytes)


CASES = [
    (name, mode)
    for name in sorted(OPERATIONS)
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or can_be_wrong(name)
]


@pytest.mark.parametrize(("name", "mode"), CASES, ids=str)
def test_every_answer_is_declared(base: tuple[Daemon, str], name: str, mode: GenerationMode) -> None:
    served, url = base
    operation = OPERATIONS[name]

    @seed(1)
    @settings(
        max_examples=TRIES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        meant(name, case)
        if name in FOLLOWS or name == "POST /v1/commands":
            status, later, content = answered(name, case, url)
        else:
            answer = case.call(base_url=url, timeout=30)
            status, later, content = (
                answer.status_code,
                (answer.headers.get("retry-after") or [None])[0],
                answer.content,
            )
            if status < 400 and operation.definition.raw["responses"].get("200", {}).get("content", {}).get(JSON):
                operation.validate_response(answer, case=case)
        allowed = {int(status) for status in operation.definition.raw["responses"]} | {405}
        assert status in allowed, (case.as_curl_command(), content)
        assert status < 500 or (status == 503 and later)
        if status >= 400:
            document = json.loads(content)
            assert document["status"] == status and document["detail"]

    ask()
    assert served.running.process.poll() is None


ROUND = 160
GROWTH = 24 << 20
"""Bytes that caches and the allocator may take."""


def test_nothing_is_left_of_all_that_was_asked(base: tuple[Daemon, str]) -> None:
    """The pool has its threads and caches are full by now: the same once more costs nothing of that."""
    served, url = base
    api = Asking(served)

    def round_of_requests() -> None:
        for number in range(ROUND):
            path, status = ASKED[number % len(ASKED)]
            with requests.get(f"{url}{path}", stream=True, timeout=30) as answer:
                assert answer.status_code == status, answer.content

    round_of_requests()
    until(lambda: under_way(api) == 0)
    before = held(api)
    round_of_requests()
    until(lambda: under_way(api) == 0 and held(api).descriptors <= before.descriptors)
    after = held(api)
    assert after.threads <= before.threads + 30, "those that follow logs have threads of their own: 58"
    assert after.memory - before.memory < GROWTH, (before, after)
