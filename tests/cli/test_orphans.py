"""`diff` and `apply` without `--prune` name what the set owns and the manifests no longer declare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.engine import Engine

pytestmark = pytest.mark.kernel
TOLD = "note: Network/front of the set shop stays, no longer in the manifests; --prune deletes it\n"


def network(name: str) -> str:
    return f"---\napiVersion: trimtab/v1\nkind: Network\nmetadata: {{name: {name}}}\nspec: {{}}\n"


def test_what_was_left_out_of_the_manifests_is_named_until_it_is_pruned(engine: Engine) -> None:
    path = engine.write("shop.yaml", network("front") + network("back"))
    assert "note:" not in engine.ok("apply", "--set", "shop", path).err
    Path(path).write_text(network("back"))

    diff = engine.ok("diff", "--set", "shop", path)
    assert TOLD in diff.out
    assert json.loads(engine.ok("diff", "--set", "shop", "-o", "json", path).out)["orphans"] == ["Network/front"]

    said = engine.ok("apply", "--set", "shop", path)
    assert said.err == TOLD and said.out == "Nothing to do: 1 object is as declared.\n"
    document = json.loads(engine.ok("apply", "--set", "shop", "-o", "json", path).out)
    assert (document["orphans"], document["notes"]) == (["Network/front"], [])

    assert "no longer in the manifests;" not in engine.ok("apply", "--set", "shop", "--prune", path).err
    assert engine.ok("apply", "--set", "shop", path).err == ""


def test_the_data_that_a_deleted_volume_leaves_is_a_note_for_programs_too(engine: Engine) -> None:
    path = engine.write("data.yaml", "apiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: data}\nspec: {}\n")
    engine.ok("apply", path)
    (note,) = json.loads(engine.ok("delete", "-o", "json", path).out)["notes"]
    assert note["object"] == "Volume/data" and "its data is kept in" in note["text"]
