"""What people see of an image that follows a repository: what is chosen, what there is, the last look, its window."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.engine import Engine, making_engine
from tests.conftest import SLOWER
from tests.daemon.running import daemon
from tests.registry.distribution import docker_registry
from tests.registry.samples import Address, image, layer_tar, push

pytestmark = pytest.mark.kernel
SECONDS = 60.0 * SLOWER
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
FAR = DAYS[(datetime.now().astimezone().weekday() + 3) % 7]
"""A day that is not near."""
WINDOW = f"{FAR} 02:00-04:30"


@pytest.fixture
def engine() -> Iterator[Engine]:
    with making_engine() as made:
        made.layout.root.mkdir(exist_ok=True)
        yield made


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Address]:
    with docker_registry(tmp_path / "registry") as made:
        yield made


def version(registry: Address, tag: str) -> str:
    return push(registry, "team/app", tag, image(layer_tar({"version": tag.encode()})))


def settle(engine: Engine, registry: Address, window: str) -> str:
    (engine.layout.root / "registries.yaml").write_text(
        f"registries: {{'{registry.host}': {{insecure: true}}}}\nattempts: 1\n"
    )
    reference = f"{registry.host}/team/app"
    text = (
        "apiVersion: trimtab/v1\nkind: Image\nmetadata: {name: app}\n"
        f"spec: {{ref: '{reference}:1.4.0', follow: {{semver: '>=1.4 <2', interval: 1s, window: '{window}'}}}}\n"
    )
    (engine.base / "app.yaml").write_text(text)
    engine.ok("apply", "--set", "apps", "app.yaml")
    return reference


def shown(engine: Engine) -> dict[str, Any]:
    (found,) = json.loads(engine.ok("status", "-o", "json").out)["images"]
    return dict(found)


def test_status_and_describe_show_what_is_chosen_what_there_is_and_the_window(
    engine: Engine, registry: Address
) -> None:
    first = version(registry, "1.4.0")
    reference = settle(engine, registry, WINDOW)
    begun = time.time()
    with daemon(engine):
        second = version(registry, "1.5.0")
        deadline = time.monotonic() + SECONDS
        while shown(engine)["available"] != f"{reference}:1.5.0@{second}":
            assert time.monotonic() < deadline, shown(engine)
            time.sleep(0.1)
        found = shown(engine)
        assert (found["name"], found["policy"], found["state"]) == ("app", ">=1.4 <2", "Waiting")
        assert found["current"] == f"{reference}:1.4.0@{first}" and found["message"] == "outside its window"
        assert (found["window"], found["window_open"], found["interval"]) == (WINDOW, False, 1.0)
        assert found["checked_at"] >= begun - 1
        text = engine.ok("status").out
        for word in ("app", "Waiting", f"app:1.4.0@{first[7:19]}", f"app:1.5.0@{second[7:19]}", "outside its window"):
            assert word in text
        text = engine.ok("describe", "image/app").out
        assert "Following:" in text and f"window: {WINDOW}" in text
    said = engine.ok("describe", "image/app", "-o", "json")
    following = json.loads(said.out)["details"]["following"]
    assert following["current"] == f"{reference}:1.4.0@{first}"
    assert following["available"] == f"{reference}:1.5.0@{second}"
    assert (following["state"], following["window"], following["window_open"]) == ("Waiting", WINDOW, False)
    assert "T" in following["checked"]
    (item,) = json.loads(engine.ok("get", "image/app", "-o", "json").out)["items"]
    assert item["manifest"]["spec"]["follow"]["window"] == WINDOW
