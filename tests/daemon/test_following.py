"""A daemon that follows a directory: edits are acted on, mistakes change nothing and are shown."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.process.client import read_process
from tests.api.conftest import Asking
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import Daemon, daemon
from tests.daemon.test_life import SOLO, wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def shop(busybox_tree: Path) -> Iterator[Engine]:
    """An engine beside a directory `shop` of manifests: an image and the container `solo`."""
    with making_engine() as engine:
        directory = engine.base / "shop"
        directory.mkdir()
        (directory / "image.yaml").write_text(shop_manifest(busybox_tree).partition("---")[0])
        (directory / "solo.yaml").write_text(SOLO)
        yield engine


def source(served: Daemon, state: str, **wanted: str) -> dict[str, Any]:
    """The source's status once it is in that state."""
    found: dict[str, Any] = {}

    def is_there() -> bool:
        found.update(next(iter(Asking(served).ask("GET", "/v1/status")["sources"]), {}))
        return found.get("state") == state and all(text in str(found[name]) for name, text in wanted.items())

    try:
        wait_until(is_there, 30)
    except AssertionError:
        raise AssertionError(f"{found}\n{served.running.so_far().err[-3000:]}") from None
    return found


def phase(engine: Engine, name: str) -> str:
    found = read_process(engine.layout, name)
    return found.phase.value if found is not None else "none"


def test_what_a_directory_declares_is_made_and_edits_are_acted_on(shop: Engine) -> None:
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        assert source(served, "Ready")["set"] == "shop"
        assert phase(shop, "solo") == "running"
        began = time.monotonic()
        (shop.base / "shop" / "more.yaml").write_text(SOLO.replace("name: solo", "name: more"))
        wait_until(lambda: phase(shop, "more") == "running")
        assert time.monotonic() - began < 5
        assert "Container/more" in shop.ok("get", "--set", "shop", "-o", "name").out


def test_a_mistake_changes_nothing_and_is_shown_with_its_line(shop: Engine) -> None:
    solo = shop.base / "shop" / "solo.yaml"
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        before = read_process(shop.layout, "solo")
        solo.write_text(SOLO.replace("restart:", "restrt:"))
        (problem,) = source(served, "Stalled")["problems"]
        assert "solo.yaml:5" in problem and "restart" in problem
        status = shop.run("status")
        assert status.code == 1 and "Stalled" in status.out and "solo.yaml:5" in status.out
        after = read_process(shop.layout, "solo")
        assert before is not None and after is not None and after.pid == before.pid
        solo.write_text(SOLO)
        source(served, "Ready")


def test_a_directory_that_vanishes_takes_nothing_with_it(shop: Engine) -> None:
    directory = shop.base / "shop"
    with daemon(shop, "--source", str(directory)) as served:
        source(served, "Ready")
        shutil.move(directory, shop.base / "away")
        source(served, "Stalled")
        assert phase(shop, "solo") == "running"
        shutil.move(shop.base / "away", directory)
        source(served, "Ready")
        (directory / "second.yaml").write_text(SOLO.replace("name: solo", "name: second"))
        wait_until(lambda: phase(shop, "second") == "running")
        (directory / "second.yaml").unlink()
        wait_until(lambda: phase(shop, "second") == "none")
        assert phase(shop, "solo") == "running"


def test_what_stays_without_pruning_is_told(shop: Engine) -> None:
    directory = shop.base / "shop"
    (directory / "second.yaml").write_text(SOLO.replace("name: solo", "name: second"))
    with daemon(shop, "--no-prune", "--source", str(directory)) as served:
        source(served, "Ready")
        (directory / "second.yaml").unlink()
        told = "Container/second of the set shop stays, no longer in the manifests; `prune: true` deletes it"
        source(served, "Ready", message=told)
        assert f"shop: note: {told}" in shop.ok("status").lines
        served.wait_log(told)
        assert phase(shop, "second") == "running"
        solo = directory / "solo.yaml"
        solo.write_text(SOLO.replace("restart: always", "restart: on-failure"))
        wait_until(lambda: shop.ok("history", "shop").out.count("source shop") == 2)
        source(served, "Ready", message=told)
        assert [line for line in shop.ok("events", "container/second").lines if "Kept" in line][1:] == []
        assert "Kept" in shop.ok("events", "container/second").out


def test_a_directory_that_comes_later_fills_the_set_of_its_name(shop: Engine) -> None:
    directory = shop.base / "shop"
    shop.ok("-H", "none", "apply", "--no-wait", str(directory))
    shutil.move(directory, shop.base / "away")
    with daemon(shop, "--source", str(directory)) as served:
        assert source(served, "Stalled")["set"] == "shop"
        shutil.move(shop.base / "away", directory)
        assert source(served, "Ready")["set"] == "shop"


def test_sources_may_be_given_anew_by_a_reload(shop: Engine) -> None:
    settings = Path(shop.write("daemon.yaml", "log: json\n"))
    with daemon(shop, "--config", str(settings)) as served:
        assert Asking(served).ask("GET", "/v1/status")["sources"] == []
        settings.write_text(f"log: json\nsource: [{shop.base}/shop]\n")
        served.send(signal.SIGHUP)
        source(served, "Ready")
        assert phase(shop, "solo") == "running"
        settings.write_text("log: json\n")
        served.send(signal.SIGHUP)
        wait_until(lambda: Asking(served).ask("GET", "/v1/status")["sources"] == [])
        assert phase(shop, "solo") == "running"


def test_a_source_is_looked_at_when_asked_to(shop: Engine) -> None:
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        asking = Asking(served)
        assert asking.raw("POST", "/v1/sources/shop/fetch")[0] == 202
        assert asking.raw("POST", "/v1/sources/shop/retry")[0] == 202
        asking.problem("POST", "/v1/sources/nobody/fetch", status=404)
        asking.problem("GET", "/v1/sources/nobody", status=404)
        asking.problem("POST", "/hooks/shop", b"{}", status=403)
        asking.problem("POST", "/hooks/nobody", b"{}", status=403)


HOOKED = """\
apiVersion: trimtab/v1
kind: Secret
metadata: {name: hook}
spec: {content: a-long-enough-secret}
---
apiVersion: trimtab/v1
kind: Source
metadata: {name: hooked}
spec: {directory: DIRECTORY, interval: 1h, webhook: {secret: hook}}
"""


def test_a_webhook_is_heard_from_who_knows_the_secret(shop: Engine) -> None:
    shop.write("hooked.yaml", HOOKED.replace("DIRECTORY", str(shop.base / "shop")))
    with daemon(shop) as served:
        shop.ok("apply", "--set", "sources", "hooked.yaml")
        source(served, "Ready")
        asking, body = Asking(served), json.dumps({"ref": "refs/heads/main"}).encode()
        signature = hmac.new(b"a-long-enough-secret", body, hashlib.sha256).hexdigest()
        assert asking.raw("POST", "/hooks/hooked", body, **{"X-Hub-Signature-256": f"sha256={signature}"})[0] == 202
        assert asking.raw("POST", "/hooks/hooked", body, **{"X-Hub-Signature-256": "sha256=0"})[0] == 403
        assert (
            asking.raw("POST", "/hooks/hooked", body + b" ", **{"X-Hub-Signature-256": f"sha256={signature}"})[0] == 403
        )


def test_what_is_no_source_is_refused_at_once(shop: Engine) -> None:
    said = shop.run("daemon", "--source", "https://user:password@git.test/x.git")
    assert said.code == 2 and "password" not in said.out, said


def test_a_source_is_told_whole_with_conditions_and_what_is_wrong_where(shop: Engine) -> None:
    solo = shop.base / "shop" / "solo.yaml"
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        asking = Asking(served)
        wait_until(lambda: asking.ask("GET", "/v1/sources/shop")["health"] == "Healthy", 30)
        found = asking.ask("GET", "/v1/sources/shop")
        assert (found["state"], found["reason"], found["sync"], found["failure"]) == (
            "Ready",
            "Applied",
            "Synced",
            None,
        )
        assert found["revision"] == found["applied"] and found["applied_at"] >= found["fetched_at"] > 0
        assert found["next_fetch"] > found["fetched_at"] and found["suspended"] is False
        assert conditions(found) == {"Ready": "True", "Reconciling": "False", "Stalled": "False", "Healthy": "True"}
        solo.write_text(SOLO.replace("restart:", "restrt:"))
        source(served, "Stalled")
        found = asking.ask("GET", "/v1/sources/shop")
        assert (found["reason"], found["sync"], found["health"]) == ("Invalid", "OutOfSync", "Degraded")
        assert found["revision"] != found["applied"]
        assert conditions(found)["Stalled"] == "True"
        (problem,) = found["failure"]["problems"]
        assert problem["file"].endswith("solo.yaml")
        assert (problem["line"], problem["object"], problem["field"]) == (5, "Container/solo", "spec.restrt")
        # as `trimtab status` tells it
        (listed,) = json.loads(shop.run("status", "-o", "json").out)["sources"]
        assert listed | {"next_fetch": 0} == found | {"next_fetch": 0}
        assert any("Source/shop  Invalid: " in line and "solo.yaml:5" in line for line in shop.ok("events").lines)
        shop.ok("suspend", "set/shop")
        source(served, "Suspended")
        found = asking.ask("GET", "/v1/sources/shop")
        assert (found["suspended"], found["health"], found["failure"]) == (True, "Suspended", None)


def conditions(found: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in found["conditions"]}
