"""What a person changes of a set that a source feeds: told, put back, or left; and how the source stands meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.conftest import Asking
from tests.cli.engine import Engine
from tests.daemon.running import daemon
from tests.daemon.test_following import phase, shop, source
from tests.daemon.test_life import SOLO, wait_until

pytestmark = pytest.mark.kernel
__all__ = ["shop"]

FOLLOWED = """\
apiVersion: trimtab/v1
kind: Source
metadata: {name: shop}
spec: {directory: DIRECTORY, interval: 1h, SELF_HEAL}
"""


MINE = SOLO.replace("restart: always", "restart: always, labels: {whose: mine}")


def by_hand(engine: Engine) -> str:
    """The container of the set, as somebody would have it at once."""
    image = (engine.base / "shop" / "image.yaml").read_text()
    return engine.write("mine.yaml", image + MINE)


def declared(engine: Engine, self_heal: str) -> str:
    text = FOLLOWED.replace("DIRECTORY", str(engine.base / "shop")).replace("SELF_HEAL", self_heal)
    return engine.write("sources.yaml", text)


def is_mine(engine: Engine) -> bool:
    return "whose" in engine.ok("get", "container/solo", "-o", "json").out


def test_what_somebody_applies_to_a_followed_set_is_told_and_put_back(shop: Engine) -> None:
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        said = shop.ok("apply", "--set", "shop", by_hand(shop))
        assert "the set shop has its objects from source shop, so this is drift" in said.err
        wait_until(lambda: "puts back what" in shop.ok("history", "shop", "-o", "json").out, 20)
        history = shop.ok("history", "shop", "-o", "json").out
        assert '"apply by root"' in history
        assert "(apply by root) changed Container/solo" in history
        wait_until(lambda: not is_mine(shop), 20)
        assert "(apply by root)" in shop.ok("why", "container/solo").out
        source(served, "Ready")


def test_a_followed_set_that_was_deleted_comes_back(shop: Engine) -> None:
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        said = shop.ok("delete", "--set", "shop")
        assert "so this is drift" in said.err
        wait_until(lambda: phase(shop, "solo") == "running", 20)
        assert "(delete by root) deleted" in shop.ok("history", "shop", "-o", "json").out


def test_with_self_heal_off_it_stays_and_is_shown_with_who_did_it(shop: Engine) -> None:
    with daemon(shop) as served:
        shop.ok("apply", "--set", "boot", declared(shop, '"self_heal": off'))
        source(served, "Ready")
        shop.ok("apply", "--set", "shop", by_hand(shop))
        source(served, "OutOfSync", message="(apply by root) changed Container/solo; self_heal is off")
        assert is_mine(shop)
        listed = shop.run("source", "ls")
        assert listed.code == 1 and "OutOfSync" in listed.out and "apply by root" in listed.out
        again = shop.run("source", "fetch", "shop")
        assert again.code == 1 and is_mine(shop)
        assert "source shop is Ready" in shop.ok("source", "fetch", "shop", "--retry").out
        assert not is_mine(shop)
        shop.ok("delete", "--set", "shop")
        source(served, "Missing", message="(delete by root) deleted")
        shop.ok("source", "fetch", "shop", "--retry")
        assert phase(shop, "solo") == "running"
        nobody = shop.run("source", "fetch", "nobody")
        assert nobody.code == 2 and "no source nobody is followed" in nobody.err


def test_an_object_of_a_followed_set_cannot_be_taken_over_by_another_set(shop: Engine) -> None:
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        said = shop.run("apply", "--set", "other", by_hand(shop))
        assert said.code == 2 and "belongs to the set shop" in said.err
        assert not is_mine(shop)


def test_a_directory_that_was_rolled_back_is_pinned_and_says_what_ends_it(shop: Engine) -> None:
    solo = shop.base / "shop" / "solo.yaml"
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        solo.write_text(MINE)
        wait_until(lambda: is_mine(shop), 20)
        source(served, "Ready")
        shop.ok("rollback", "shop")
        assert not is_mine(shop)
        source(served, "Pinned", message="another revision of the source ends that, or `trimtab source fetch shop")
        shop.ok("source", "fetch", "shop")
        assert not is_mine(shop)
        # a daemon that starts anew leaves it there
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Pinned")
        assert not is_mine(shop)
        solo.write_text(MINE.replace("mine", "mine-and-newer"))
        source(served, "Ready")
        assert is_mine(shop)


def test_a_suspended_set_gets_nothing_new_until_it_is_resumed(shop: Engine) -> None:
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        shop.ok("suspend", "set/shop")
        source(served, "Suspended", message="`trimtab resume set/shop` ends that")
        (shop.base / "shop" / "solo.yaml").write_text(MINE)
        assert shop.ok("source", "fetch", "shop").code == 0
        assert not is_mine(shop)
        shop.ok("resume", "set/shop")
        source(served, "Ready")
        assert is_mine(shop)


def test_a_rollback_that_is_refused_pins_nothing(shop: Engine, tmp_path: Path) -> None:
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        said = shop.run("rollback", "shop", "--to", "77")
        assert said.code == 2
        assert "stays at" not in shop.ok("history").out
        source(served, "Ready")


def test_an_object_changed_by_hand_reads_out_of_sync_itself_and_says_who_changed_what(shop: Engine) -> None:
    with daemon(shop) as served:
        shop.ok("apply", "--set", "boot", declared(shop, '"self_heal": off'))
        source(served, "Ready")
        shop.ok("wait", "container/solo", "--for", "sync=Synced", "--timeout", "30s")
        shop.ok("apply", "--set", "shop", by_hand(shop))
        shop.ok("wait", "container/solo", "--for", "sync=OutOfSync", "--timeout", "30s")
        deed = "(apply by root) changed spec.labels.whose: (none) → mine"
        assert deed in shop.ok("get", "container/solo").out
        (item,) = json.loads(shop.ok("get", "container/solo", "-o", "json").out)["items"]
        assert item["health"] == "Healthy"
        assert deed in item["changedByHand"]
        assert f"Sync: OutOfSync: revision 3 {deed}" in shop.ok("describe", "container/solo").out
        assert f"not as its source has it: revision 3 {deed}" in shop.ok("why", "container/solo").out
        asking = Asking(served)
        listed = {each["object"]: each for each in asking.ask("GET", "/v1/objects?kind=container")["items"]}
        assert deed in listed["Container/solo"]["changedByHand"]
        described = asking.ask("GET", "/v1/objects/container/solo")
        assert deed in described["item"]["changedByHand"]
        status = shop.run("status")
        assert status.code == 1 and "(apply by root) changed Container/solo" in status.out
        shop.ok("source", "fetch", "shop", "--retry")
        shop.ok("wait", "container/solo", "--for", "sync=Synced", "--timeout", "30s")
        assert "changed by hand" not in shop.ok("describe", "container/solo").out


def test_a_source_object_shows_how_the_daemon_stands_with_it(shop: Engine) -> None:
    shop.write("sources.yaml", FOLLOWED.replace("DIRECTORY", str(shop.base / "shop")).replace(", SELF_HEAL", ""))
    shop.ok("-H", "none", "apply", "--no-wait", "--set", "boot", "sources.yaml")
    assert "no daemon runs that would follow it" in shop.ok("get", "source/shop").out
    with daemon(shop):
        shop.ok("wait", "source/shop", "--timeout", "30s")
        shop.ok("wait", "source/shop", "--for", "health=Healthy", "--timeout", "30s")
        assert "Ready: " in shop.ok("get", "source/shop").out
        (shop.base / "shop" / "solo.yaml").write_text(SOLO.replace("restart:", "restrt:"))
        shop.ok("wait", "source/shop", "--for", "condition=Stalled", "--timeout", "30s")
        described = shop.ok("describe", "source/shop").out
        assert "Stalled True, Invalid" in described and "solo.yaml:5" in described
        (item,) = json.loads(shop.ok("get", "source/shop", "-o", "json").out)["items"]
        assert item["health"] == "Degraded"
        shop.ok("wait", "source/shop", "--for", "sync=OutOfSync", "--timeout", "30s")
