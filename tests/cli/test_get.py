"""`trimtab get`: what there is and how it stands, in five formats."""

from __future__ import annotations

import json
import os
import signal

import pytest

from reconciler.cli.columns import Row, cells, titles
from reconciler.cli.seen import Seen
from reconciler.cli.standing import Health, Standing
from reconciler.status import Situation, status_of
from reconciler.store.inventory import Entry
from runtime.process import client
from schemas.names import Key, Kind
from tests.cli.engine import Engine, Said
from tests.conftest import SLOWER
from tests.machine.probe import document

pytestmark = pytest.mark.kernel


def row(said: Said, name: str) -> list[str]:
    """The cells of a table's row."""
    (line,) = [line for line in said.lines if line.split()[:1] == [name]]
    return line.split()


def test_everything_is_listed_by_kind(shop: Engine) -> None:
    said = shop.ok("get")
    names = [line.split()[0] for line in said.lines if line and not line.startswith("NAME")]
    assert names == [
        "Image/busybox",
        "Container/db",
        "Container/web-1",
        "Container/web-2",
        "Volume/pages",
        "Network/shop",
        "Service/web",
        "Secret/password",
    ]


def test_a_container_shows_health_status_image_and_address(shop: Engine) -> None:
    cells = row(shop.ok("get", "Containers"), "db")
    assert cells[1:3] == ["Healthy", "running"]
    assert cells[4] == "busybox"
    assert cells[5].startswith("10.")


def test_a_service_shows_ready_replicas_virtual_address_and_ports(shop: Engine) -> None:
    cells = row(shop.ok("get", "service"), "web")
    assert cells[1:4] == ["Healthy", "2/2", "balanced"]
    assert "127.0.0.1:8080->80/tcp" in cells


def test_kinds_are_read_in_any_case_plural_several_at_once(shop: Engine) -> None:
    assert shop.ok("get", "VOLUMES,network", "container/db", "-o", "name").lines == [
        "Container/db",
        "Volume/pages",
        "Network/shop",
    ]


def test_get_all_is_get(shop: Engine) -> None:
    assert shop.ok("get", "all", "-o", "name").out == shop.ok("get", "-o", "name").out


def test_labels_choose(shop: Engine) -> None:
    assert shop.ok("get", "-l", "tier=back", "-o", "name").lines == ["Container/db"]
    assert "Service/web" in shop.ok("get", "-l", "app=shop", "-o", "name").lines
    assert shop.ok("get", "-l", "app=other", "-o", "name").lines == []


def test_a_set_chooses(shop: Engine) -> None:
    assert len(shop.ok("get", "--set", "shop", "-o", "name").lines) == 8
    assert shop.run("get", "--set", "other").err == "No objects.\n"


def test_wide_shows_owner_and_command(shop: Engine) -> None:
    said = shop.ok("get", "containers", "-o", "wide")
    assert {"PID", "OWNER", "COMMAND", "SET"} <= set(said.lines[0].split())
    assert "Service/web" in row(said, "web-1")


def test_the_origin_is_file_line_and_set(shop: Engine) -> None:
    said = shop.ok("get", "containers", "--show-origin")
    assert said.lines[1].endswith("shop.yaml:21 (set shop)")
    assert said.lines[2].endswith("Service/web (set shop)")


def test_yaml_applies_back_to_no_difference(shop: Engine) -> None:
    shop.write("back.yaml", shop.ok("get", "-o", "yaml", "--show-secrets", "--show-origin").out)
    said = shop.run("diff", "--set", "shop", "back.yaml")
    assert (said.code, said.out) == (0, "No difference: 8 objects are as declared.\n")


def test_yaml_is_written_for_people(shop: Engine) -> None:
    text = shop.ok("get", "container/db", "-o", "yaml").out
    assert text.startswith("apiVersion: trimtab/v1\nkind: Container\nmetadata:\n  name: db\n")
    assert "PRICE: 5$$$$" not in text
    assert "PRICE: 5$$" in text


def test_a_secrets_content_is_shown_only_when_asked_for(shop: Engine) -> None:
    hidden = shop.ok("get", "secrets", "-o", "yaml").out
    assert "xyzzy" not in hidden
    assert hidden.startswith("# spec.content is not shown: --show-secrets shows it\n")
    assert "xyzzy" in shop.ok("get", "secrets", "-o", "yaml", "--show-secrets").out
    for arguments in (
        ("get", "-o", "json"),
        ("describe", "secret/password"),
        ("describe", "secret/password", "-o", "yaml"),
    ):
        assert "xyzzy" not in shop.ok(*arguments).out


def test_yaml_with_hidden_content_is_refused_rather_than_empty_the_secret(shop: Engine) -> None:
    shop.write("hidden.yaml", shop.ok("get", "secrets", "-o", "yaml").out)
    said = shop.run("diff", "--set", "shop", "hidden.yaml")
    assert said.code == 2
    assert "content" in said.err


def test_json_is_a_report(shop: Engine) -> None:
    document = json.loads(shop.ok("get", "container/web-1", "-o", "json").out)
    (item,) = document["items"]
    assert (document["kind"], item["object"], item["owner"], item["health"]) == (
        "ObjectList",
        "Container/web-1",
        "Service/web",
        "Healthy",
    )
    assert item["process"]["phase"] == "running"
    assert item["facts"]["endpoints"]["shop"]["interface"] == "eth0"
    assert "Image/busybox" in item["needs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["containr"], "'containr' is not a kind; did you mean container?"),
        (["container/dbb"], "there is no Container/dbb; did you mean Container/db?"),
        (["volume/db"], "there is no Volume/db; did you mean Container/db?"),
        (["container/"], "'container/' names no object; write container/NAME"),
        (["-l", "=x"], "a label has no name; write -l LABEL=VALUE, or -l LABEL"),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest(shop: Engine, words: list[str], message: str) -> None:
    said = shop.run("get", *words)
    assert (said.code, said.out, said.err) == (2, "", f"trimtab: {message}\n")


def test_an_engine_that_was_never_used_has_no_objects(engine: Engine) -> None:
    said = engine.ok("get")
    assert (said.out, said.err) == ("", "No objects.\n")


def test_a_container_that_was_killed_is_degraded(shop: Engine) -> None:
    pid = int(json.loads(shop.ok("get", "container/db", "-o", "json").out)["items"][0]["process"]["pid"])
    os.kill(pid, signal.SIGKILL)
    said = shop.ok("get", "container/db")
    try:
        assert "Degraded" in said.out
        assert "exited 137" in said.out
        assert "(SIGKILL)" in said.out
    finally:
        shop.ok("apply", "--set", "shop", "shop.yaml")
    assert row(shop.ok("get", "containers"), "db")[1:3] == ["Healthy", "running"]


@pytest.mark.parametrize(
    ("restart", "ends", "next_start"),
    [
        ("no", 3, ""),
        ("always", 0, "restarted by the daemon (`trimtab daemon`), or by the next apply"),
        ("unless-stopped", 3, "restarted by the daemon (`trimtab daemon`), or by the next apply"),
        (
            "on-failure:2",
            3,
            "restarted by the daemon (`trimtab daemon`) at most 2 times in a row, or by the next apply",
        ),
        ("on-failure", 0, ""),
    ],
)
def test_who_starts_again_what_exited_is_told(shop: Engine, restart: str, ends: int, next_start: str) -> None:
    spec = {"image": "busybox", "command": ["sh", "-c", f"exit {ends}"], "network_mode": "none", "restart": restart}
    shop.write("again.yaml", document("Container", "again", **spec))
    shop.run("apply", "--set", "again", "again.yaml")
    try:
        client.wait(shop.layout, "again", 30 * SLOWER)
        table, one, chain = (shop.ok(verb, "container/again") for verb in ("get", "describe", "why"))
        assert f"exited {ends}" in table.out
        for said in (table, one, chain):
            assert ("restarted by the daemon" in said.out) == bool(next_start) and next_start in said.out
    finally:
        shop.ok("delete", "--set", "again")


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ({"config": {"cmd": ["sh"]}, "rootfs": "/srv/tree"}, "/srv/tree"),
        ({"pull_policy": "always", "ref": "nginx"}, "nginx"),
        ({"build": {"args": {"A": "1"}, "context": "/srv/app"}, "push": ["r/app"]}, "/srv/app"),
        ({"commit": {"author": "ann", "container": "web"}}, "web"),
    ],
)
def test_an_image_that_is_not_made_yet_shows_what_it_is_made_of(spec: dict[str, object], source: str) -> None:
    key = Key(Kind.IMAGE, "app")
    seen = Seen(key, entry=Entry(key, "shop", "shop.yaml", 1, "", {"metadata": {"name": "app"}, "spec": spec}))
    made = Row(seen, Standing(Health.MISSING, "not made"), status_of(Situation(exists=False), 0.0), {}, 0.0)
    told = cells(made, wide=False, origin=False, qualified=False)
    shown = dict(zip(titles(Kind.IMAGE, wide=False, origin=False), told, strict=True))
    assert shown["SOURCE"] == source
