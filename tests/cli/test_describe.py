"""`trimtab describe`: everything about one object, and what the machine contradicts."""

from __future__ import annotations

import json

import pytest
import yaml

from runtime.kernel import cgroup
from tests.cli.engine import Engine

pytestmark = pytest.mark.kernel


def test_a_container_is_told_from_manifest_to_mounts(shop: Engine) -> None:
    text = shop.ok("describe", "container/db").out
    for line in (
        "Container/db",
        "  Health: Healthy",
        "  Needs: Image/busybox, Network/shop, Secret/password, Volume/pages",
        "Fields set:",
        "  mem_limit: 33554432",
        "  phase: running",
        "      interface: eth0",
        "      names: db",
        "Limits:",
        "    limit: 33554432",
        "Usage:",
        "Differences: none",
    ):
        assert line in text.splitlines(), line
    assert "Origin: shop.yaml:21 (set shop)" in text
    assert "deny a *:* rwm, allow b *:* m" in text
    assert f"/pages: ext4 {shop.layout.volumes}" in text or "/pages: " in text
    assert "digest: sha256:" in text
    assert "Normal  Created: does not exist" in text


def test_a_name_alone_is_enough_where_only_one_object_has_it(shop: Engine) -> None:
    assert shop.ok("describe", "pages").lines[0] == "Volume/pages"
    said = shop.run("describe", "shop")
    assert said.code == 0
    assert said.lines[0] == "Network/shop"
    assert shop.run("describe", "nothing").err.startswith("trimtab: 'nothing' names no object; write KIND/NAME")


def test_a_service_shows_its_replicas_and_ports(shop: Engine) -> None:
    text = shop.ok("describe", "service/web").out
    assert "Needs: Container/web-1, Container/web-2, Network/shop" in text
    assert "web-1: 10." in text
    assert "tcp 127.0.0.1:8080: 80" in text


def test_a_replica_shows_what_its_service_made_of_it(shop: Engine) -> None:
    text = shop.ok("describe", "container/web-2").out
    assert "  Origin: Service/web (set shop)" in text.splitlines()
    assert "exec httpd -f -p 80" in text


@pytest.mark.parametrize("kind", ["image/busybox", "volume/pages", "network/shop", "secret/password"])
def test_every_kind_can_be_described(shop: Engine, kind: str) -> None:
    said = shop.ok("describe", kind)
    assert said.lines[1] == "  Health: Healthy"
    assert "xyzzy" not in said.out


def test_json_and_yaml_say_the_same(shop: Engine) -> None:
    by_json = json.loads(shop.ok("describe", "image/busybox", "-o", "json").out)
    by_yaml = yaml.safe_load(shop.ok("describe", "image/busybox", "-o", "yaml").out)
    assert by_json == by_yaml
    assert by_json["details"]["content"]["config"]["Cmd"] == ["sh"]
    assert by_json["events"][0]["reason"] == "Created"


def test_a_limit_edited_by_hand_shows_as_a_difference(shop: Engine) -> None:
    path = shop.layout.cgroup("db")
    limits = cgroup.read_limits(path)["memory"]
    cgroup.write_limits(path, {"memory": {"limit": 16 << 20, "swap": 64 << 20}})
    try:
        said = shop.ok("describe", "container/db")
        assert "  Health: Degraded" in said.lines
        assert said.out.count("limits.memory.limit") == 2
        assert "wanted: 33554432" in said.out
        assert f"found: {16 << 20}" in said.out
        assert "drift" in shop.ok("get", "container/db").out
    finally:
        cgroup.write_limits(path, {"memory": {"limit": limits["limit"], "swap": limits["swap"]}})
    assert "Differences: none" in shop.ok("describe", "container/db").out
