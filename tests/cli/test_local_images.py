"""A container may name an image brought by hand, or built under a reference: it stands on that very image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine

pytestmark = pytest.mark.kernel

APP = """\
services:
  one:
    image: mine
    command: [sleep, "100000"]
    stop_grace_period: 0s
  two:
    image: mine:latest
    command: [sleep, "100000"]
    stop_grace_period: 0s
"""


@pytest.fixture(scope="module")
def own(busybox_tree: Path) -> Iterator[Engine]:
    with making_engine() as made:
        made.write("image.yaml", shop_manifest(busybox_tree).partition("---")[0])
        made.ok("apply", "--set", "base", "image.yaml")
        (made.base / "app").mkdir()
        build(made, "1")
        yield made


def build(engine: Engine, version: str) -> None:
    engine.write("app/Dockerfile", f"FROM busybox\nENV VERSION={version}\n")
    engine.ok("image", "build", "-q", "-t", "mine", str(engine.base / "app"))


def test_it_stands_on_the_image_of_that_name_or_tag_and_follows_it(own: Engine) -> None:
    path = own.write("app.yaml", APP)
    own.ok("apply", "--set", "app", path)
    try:
        assert own.ok("get", "images", "-o", "name").lines == ["Image/busybox", "Image/mine"]
        for name in ("mine", "mine:latest"):
            said = own.run("image", "rm", name)
            assert said.code == 2
            assert "Image/mine is used by Container/one, Container/two; delete that first" in said.err
        assert own.run("diff", "--set", "app", path).code == 0

        build(own, "2")
        own.ok("apply", "--set", "app", path)
        assert "VERSION=2" in own.ok("exec", "two", "env").lines

        own.ok("image", "rm", "--force", "mine")
        assert own.ok("get", "images", "-o", "name").lines == ["Image/busybox"]
        assert "VERSION=2" in own.ok("exec", "one", "env").lines
    finally:
        build(own, "1")
        own.run("delete", "--set", "app")
    # it was nobody's of the set
    assert own.ok("get", "images", "-o", "name").lines == ["Image/busybox", "Image/mine"]


def test_what_one_service_builds_under_a_tag_another_may_name(own: Engine) -> None:
    text = APP.replace("image: mine\n", "build: {context: ./app, tags: ['example.org/app:1']}\n")
    path = own.write("app.yaml", text.replace("mine:latest", "example.org/app:1"))
    said = own.ok("apply", "--set", "built", path)
    try:
        assert "Image/one create" in said.out and "example.org" not in said.out
        assert "VERSION=1" in own.ok("exec", "two", "env").lines
        assert "is used by Container/one, Container/two" in own.run("image", "rm", "one").err
    finally:
        own.run("delete", "--set", "built")


def test_an_image_may_be_built_again_under_the_reference_that_a_container_names(own: Engine) -> None:
    def built(version: str) -> None:
        own.write("app/Dockerfile", f"FROM busybox\nENV VERSION={version}\n")
        own.ok("image", "build", "-q", "-t", "example.org/mine:1", str(own.base / "app"))

    built("1")
    path = own.write("app.yaml", APP.partition("  two:")[0].replace("image: mine", "image: example.org/mine:1"))
    own.ok("apply", "--set", "again", path)
    try:
        built("2")
        own.ok("apply", "--set", "again", path)
        assert "VERSION=2" in own.ok("exec", "one", "env").lines
    finally:
        own.run("delete", "--set", "again")
        build(own, "1")
