"""Requests made from the API's own description, right ones and wrong ones: each answer is one that is declared."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from reconciler.api.openapi import openapi
from reconciler.api.routes import ROUTES
from tests.cli.conftest import shop_manifest
from tests.cli.engine import making_engine
from tests.daemon.running import Daemon, daemon

pytestmark = pytest.mark.kernel

SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi(ROUTES))))
FOUND = [each.ok() for each in SCHEMA.get_all_operations() if isinstance(each, Ok)]
OPERATIONS = {f"{found.method.upper()} {found.path}": found for found in FOUND}
FOLLOWS = frozenset({"GET /v1/watch"})
"""They answer until somebody leaves."""
TRIES = 25


@pytest.fixture(scope="module")
def base(busybox_tree: Path) -> Iterator[tuple[Daemon, str]]:
    with making_engine() as engine:
        engine.write("shop.yaml", shop_manifest(busybox_tree))
        engine.ok("-H", "none", "apply", "--set", "shop", "shop.yaml")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with daemon(engine, "--insecure-tcp", "--listen", f"tcp://127.0.0.1:{port}") as served:
            yield served, f"http://127.0.0.1:{port}"
            assert '"fault"' not in served.running.so_far().err, served.running.so_far().err[-4000:]


def calm(case: Any) -> None:
    """Not what would never end, nor take away what other tests look at."""
    if isinstance(case.query, dict):
        case.query.pop("follow", None)


def can_be_wrong(name: str) -> bool:
    """Whether there is a parameter or a body of which something is asked."""
    raw = OPERATIONS[name].definition.raw
    is_bytes = "application/octet-stream" in raw.get("requestBody", {}).get("content", {})
    return any(each["in"] == "query" for each in raw["parameters"]) or ("requestBody" in raw and not is_bytes)


CASES = [
    (name, mode)
    for name in sorted(OPERATIONS.keys() - FOLLOWS)
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
        calm(case)
        answer = case.call(base_url=url, timeout=30)
        allowed = {int(status) for status in operation.definition.raw["responses"]} | {405}
        assert answer.status_code in allowed, (case.as_curl_command(), answer.content)
        assert answer.status_code < 500 or (answer.status_code == 503 and answer.headers.get("retry-after"))
        if answer.status_code >= 400:
            document = json.loads(answer.content)
            assert document["status"] == answer.status_code and document["detail"]
        elif operation.definition.raw["responses"].get("200", {}).get("content", {}).get("application/json"):
            operation.validate_response(answer, case=case)

    ask()
    assert served.running.process.poll() is None
