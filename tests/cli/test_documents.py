"""docs/objects.md, docs/diff.md and what the commands print name the same fields, no more and no less."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.engine import Engine

pytestmark = pytest.mark.kernel
PAGE = (Path(__file__).resolve().parents[2] / "docs/objects.md").read_text()
KINDS = ("Image", "Container", "Volume", "Network", "Service", "Secret")


def documented(heading: str) -> set[str]:
    """The first column of the table below a heading."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n#")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def of_kind(kind: str) -> set[str]:
    """The fields that the last table names for a kind, the envelope left out."""
    (line,) = re.findall(rf"^\| `{kind}` \| (.*) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", line))


def asked(engine: Engine, *arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(engine.ok(*arguments, "-o", "json").out)
    assert document["apiVersion"] == "trimtab/v1"
    return document


def test_every_item_has_the_documented_fields(shop: Engine) -> None:
    document = asked(shop, "get")
    assert document.keys() == {"apiVersion", "kind", "items"}
    assert document["kind"] == "ObjectList"
    assert {item["kind"] for item in document["items"]} == set(KINDS)
    for item in document["items"]:
        assert item.keys() == documented("### An item"), item["object"]
        if item["kind"] == "Container":
            assert item["process"].keys() == documented("### Its process")
            assert item["process"]["exit"] is None


def test_an_end_has_the_documented_fields(engine: Engine, busybox_tree: Path) -> None:
    image = f"kind: Image\nmetadata: {{name: busybox}}\nspec: {{rootfs: {busybox_tree}}}\n"
    job = "kind: Container\nmetadata: {name: job}\nspec: {image: busybox, command: [/bin/true]}\n"
    engine.write("job.yaml", "---\n".join(f"apiVersion: trimtab/v1\n{each}" for each in (image, job)))
    engine.ok("apply", "job.yaml")
    (item,) = asked(engine, "get", "container/job")["items"]
    assert item["process"]["exit"].keys() == documented("### How it ended")


@pytest.mark.parametrize(
    "name", ["image/busybox", "container/db", "volume/pages", "network/shop", "service/web", "secret/password"]
)
def test_a_description_has_the_documented_fields(name: str, shop: Engine) -> None:
    document = asked(shop, "describe", name)
    assert document.keys() == documented("## `describe -o json`, `describe -o yaml`")
    assert document["kind"] == "ObjectDescription"
    assert document["item"].keys() == documented("### An item")
    assert {field for event in document["events"] for field in event} == documented("## `events -o json`")
    for detail in document["details"]:
        assert f"`{detail}`" in PAGE


def test_events_have_the_documented_fields(shop: Engine) -> None:
    for line in shop.ok("events", "-o", "json").lines:
        assert json.loads(line).keys() == documented("## `events -o json`")


def test_images_have_the_documented_fields(shop: Engine) -> None:
    (image,) = asked(shop, "image", "ls")["items"]
    assert image.keys() == documented("### An image")
    assert {field for layer in image["layers"] for field in layer} == {"diff_id", "blob", "blob_size", "media_type"}


@pytest.mark.parametrize(("command", "kind"), [("info", "SystemInfo"), ("df", "DiskUsage")])
def test_what_is_told_of_the_system_has_the_documented_fields(command: str, kind: str, shop: Engine) -> None:
    document = asked(shop, "system", command)
    assert document["kind"] == kind
    assert document.keys() - {"apiVersion", "kind"} == of_kind(kind)


def test_a_check_has_the_documented_fields(shop: Engine) -> None:
    document = json.loads(shop.run("system", "check", "-o", "json").out)
    assert document["kind"] == "SystemCheck"
    (line,) = re.findall(r"^\| `SystemCheck` \| `features`: `(.*)` \|$", PAGE, re.MULTILINE)
    assert {name for feature in document["features"] for name in feature} == set(re.findall(r'"(\w+)"', line))


def example(kind: str) -> dict[str, Any]:
    """The document of a kind that docs/diff.md shows."""
    page = (Path(__file__).resolve().parents[2] / "docs/diff.md").read_text()
    shown = (json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    found: dict[str, Any] = next(each for each in shown if each["kind"] == kind)
    return found


def test_plans_and_outcomes_have_the_documented_fields_and_no_secrets(engine: Engine) -> None:
    text = json.dumps(
        {"apiVersion": "trimtab/v1", "kind": "Secret", "metadata": {"name": "key"}, "spec": {"content": "W"}}
    )
    path = engine.write("key.yaml", text.replace('"W"', '"of-before"'))
    engine.ok("apply", "--set", "keys", path)
    engine.write("key.yaml", text.replace('"W"', '"of-after"'))
    plan = engine.run("diff", "--set", "keys", path, "-o", "json")
    assert plan.code == 1
    said = plan.out + engine.run("diff", "--set", "keys", path).out
    assert "of-before" not in said and "of-after" not in said
    document, wanted = json.loads(plan.out), example("Plan")
    assert document.keys() == wanted.keys() and document["summary"].keys() == wanted["summary"].keys()
    (action,) = document["actions"]
    assert action.keys() == wanted["actions"][0].keys()
    assert action["changes"]
    for change in action["changes"]:
        assert change.keys() == wanted["actions"][0]["changes"][0].keys()
    done, wanted = asked(engine, "apply", "--set", "keys", path), example("Outcome")
    assert done.keys() == wanted.keys()
    (outcome,) = done["outcomes"]
    assert outcome.keys() == wanted["outcomes"][0].keys()
