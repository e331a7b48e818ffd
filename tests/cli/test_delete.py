"""`trimtab delete`: what it says of sets that are not there."""

from __future__ import annotations

import pytest

from tests.cli.engine import Engine

pytestmark = pytest.mark.kernel


def test_a_set_that_is_not_there_is_refused_naming_those_there_are(image_only: Engine) -> None:
    said = image_only.run("delete", "--set", "bas")
    assert said.code == 2
    assert said.err == "trimtab: there is no set bas; did you mean base? there are: base\n"
    assert image_only.run("delete", "--set", "something-else", "image.yaml").err.endswith(
        "something-else; there are: base\n"
    )
    assert image_only.ok("get", "images", "-o", "name").lines == ["Image/busybox"]


def test_where_nothing_was_ever_applied_that_is_said(engine: Engine) -> None:
    said = engine.run("delete", "--set", "shop")
    assert said.code == 2
    assert said.err == "trimtab: there is no set shop; nothing is applied here\n"


def test_a_set_that_was_deleted_is_not_there_any_more(image_only: Engine) -> None:
    image_only.write("net.yaml", "apiVersion: trimtab/v1\nkind: Network\nmetadata: {name: passing}\nspec: {}\n")
    image_only.ok("apply", "--set", "passing", "net.yaml")
    image_only.ok("delete", "--set", "passing")
    said = image_only.run("delete", "--set", "passing")
    assert (said.code, said.err) == (2, "trimtab: there is no set passing; there are: base\n")


def test_the_name_of_an_object_in_place_of_a_path_says_where_it_is_declared(shop: Engine) -> None:
    def hint(name: str) -> str:
        said = shop.run("delete", name)
        assert said.code == 2
        return said.err.removeprefix("trimtab: ")

    assert hint("service/web").startswith("service/web names Service/web, not manifests; shop.yaml:")
    assert hint("service/web").endswith(
        " declares it: take it out there and `trimtab apply --prune --set shop shop.yaml`\n"
    )
    assert hint("db").startswith("db names Container/db, not manifests; shop.yaml:")
    assert "it is a replica of Service/web (shop.yaml:" in hint("container/web-1")
    assert hint("shop") == "shop is a set, not a path; `trimtab delete --set shop` deletes all of it\n"
    assert "no such file or directory (container/nope)" in hint("container/nope")
    assert "there is no Container/nope, either; delete takes manifests, or --set NAME" in hint("Container/nope")
    assert "there is no" not in hint("shop/nope.yaml")
    assert len(shop.ok("get", "containers", "-o", "name").lines) == 3
