"""`trimtab history`, `rollback`, `diff --against`, `why`: what was asked when, and back again."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine

pytestmark = pytest.mark.kernel

WEB = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: web}
spec: {image: busybox, command: [sleep, "1000000"], mem_limit: LIMIT, stop_grace_period: 0s}
"""
DATA = "---\napiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: data}\n"
SECRET = "---\napiVersion: trimtab/v1\nkind: Secret\nmetadata: {name: key}\nspec: {content: xyzzy-secret}\n"


@pytest.fixture
def engine(busybox_tree: Path) -> Iterator[Engine]:
    """One with the image in a set of its own, and the set `site` in three revisions."""
    with making_engine() as made:
        made.write("image.yaml", shop_manifest(busybox_tree).partition("---")[0])
        made.ok("apply", "--set", "base", "image.yaml")
        for limit, more in (("32m", ""), ("48m", DATA), ("64m", DATA + SECRET)):
            made.write("site.yaml", WEB.replace("LIMIT", limit) + more)
            made.ok("apply", "--set", "site", "site.yaml")
        yield made


def revisions(engine: Engine, *arguments: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(engine.ok("history", *arguments, "-o", "json").out)["revisions"]
    return found


def memory_limit(engine: Engine) -> object:
    (item,) = json.loads(engine.ok("get", "container/web", "-o", "json").out)["items"]
    return item["facts"]["limits"]["memory"]["limit"]


def test_a_deletion_is_a_revision_that_says_so(engine: Engine) -> None:
    engine.ok("delete", "--set", "site")
    assert (revisions(engine)[-1]["set"], revisions(engine)[-1]["cause"]) == ("site", "delete by root")


def test_every_apply_that_asked_for_something_else_is_a_revision(engine: Engine) -> None:
    engine.ok("apply", "--set", "site", "site.yaml")
    assert [(item["revision"], item["set"], item["change"], item["cause"]) for item in revisions(engine)] == [
        (1, "base", "+1", "apply by root"),
        (2, "site", "+2", "apply by root"),
        (3, "site", "+1 ~1", "apply by root"),
        (4, "site", "+1 ~1", "apply by root"),
    ]
    head, newest, *_ = engine.ok("history", "site").lines
    assert head.split()[:3] == ["REVISION", "AGE", "SET"] and newest.split()[0] == "4"


def test_a_revisions_manifests_are_shown_without_secrets(engine: Engine) -> None:
    shown = engine.ok("history", "--revision", "4").out
    assert "name: web" in shown and "name: key" in shown and "xyzzy" not in shown
    assert "name: key" not in engine.ok("history", "--revision", "3").out


def test_going_back_takes_what_came_since_away_and_is_a_revision_itself(engine: Engine) -> None:
    before = engine.run("diff", "--against", "2")
    assert before.code == 1 and "67108864 → 33554432" in before.out and "- Volume/data" in before.out
    engine.ok("rollback", "site", "--to", "2")
    assert memory_limit(engine) == 32 << 20
    assert engine.run("describe", "secret/key").code == 2
    assert engine.run("diff", "--against", "2").code == 0
    newest = revisions(engine, "site")[-1]
    assert newest["cause"] == "rollback to revision 2 by root" and newest["change"] == "~1 -2"


def test_without_a_revision_the_one_before_is_meant(engine: Engine) -> None:
    engine.ok("rollback", "site")
    assert memory_limit(engine) == 48 << 20
    assert [key for key in engine.ok("get", "volume,secret", "-o", "name").lines if key != ""] == ["Volume/data"]


def test_one_object_goes_back_and_the_rest_of_its_set_stays(engine: Engine) -> None:
    engine.ok("rollback", "container/web", "--to", "2")
    assert memory_limit(engine) == 32 << 20
    assert "Secret/key" in engine.ok("get", "-o", "name").lines


def test_a_set_that_follows_no_source_is_not_pinned_to_a_revision(engine: Engine) -> None:
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(engine.base), *words], check=True)
    engine.write("site.yaml", WEB.replace("LIMIT", "72m"))
    engine.ok("apply", "--set", "site", "site.yaml")
    assert revisions(engine, "site")[-1]["commit"]
    assert "stays at" not in engine.ok("rollback", "site").err


def test_a_deleted_set_comes_back(engine: Engine) -> None:
    engine.ok("delete", "--set", "site")
    engine.ok("rollback", "site")
    assert memory_limit(engine) == 64 << 20


def test_a_deletion_is_gone_back_to_only_by_its_number(engine: Engine) -> None:
    engine.ok("delete", "--set", "site")
    engine.ok("apply", "--set", "site", "site.yaml")
    said = engine.ok("rollback", "site")
    assert "Going back to revision 3 of site (revision 5 is a deletion: `--to 5` goes there)." in said.err
    assert memory_limit(engine) == 48 << 20
    engine.ok("rollback", "site", "--to", "5")
    assert engine.run("describe", "container/web").code == 2


def test_before_a_deletion_alone_there_is_nothing_to_go_back_to(engine: Engine) -> None:
    engine.write("alone.yaml", DATA.replace("name: data", "name: alone"))
    for _ in range(2):
        engine.ok("apply", "--set", "alone", "alone.yaml")
        engine.ok("delete", "--set", "alone")
    engine.ok("apply", "--set", "alone", "alone.yaml")
    said = engine.run("rollback", "alone")
    assert said.code == 2
    assert "the set alone has no earlier revision to go back to" in said.err and "`--to 8` goes back" in said.err
    assert engine.ok("get", "volume/alone", "-o", "name").lines == ["Volume/alone"]


def test_the_newest_few_revisions_are_listed_where_that_is_asked_for(engine: Engine) -> None:
    assert [line.split()[0] for line in engine.ok("history", "-n", "2").lines] == ["REVISION", "4", "3"]
    few = revisions(engine, "--last", "1")
    assert [(item["revision"], item["change"]) for item in few] == [(4, "+1 ~1")]
    assert revisions(engine, "-n", "0") == []


def test_a_dry_run_changes_nothing(engine: Engine) -> None:
    said = engine.ok("rollback", "site", "--dry-run")
    assert "67108864 → 50331648" in said.out
    assert memory_limit(engine) == 64 << 20 and len(revisions(engine)) == 4


def test_what_is_not_there_is_said_with_what_is(engine: Engine) -> None:
    for arguments, words in (
        (("rollback", "sitte"), "there is no set sitte; did you mean site?"),
        (("rollback", "base"), "the set base has no earlier revision to go back to"),
        (("rollback", "site", "--to", "1"), "revision 1 is of the set base"),
        (("rollback",), "which set is meant?; name one of base, site"),
        (("history", "sit"), "there is no set sit; did you mean site?"),
        (("history", "--revision", "99"), "there is no revision 99"),
        (("diff", "--against", "99"), "there is no revision 99"),
        (("rollback", "container/webb"), "did you mean Container/web?"),
        (("rollback", "volume/data"), "Volume/data has never been asked for differently"),
    ):
        said = engine.run(*arguments)
        assert said.code == 2 and words in said.err, said


def test_why_tells_requests_and_deeds_in_their_order(engine: Engine) -> None:
    said = engine.ok("why", "container/web")
    texts = [line for line in said.lines if line.startswith("  ")]
    assert said.lines[0].startswith("Container/web is Healthy: running")
    assert "asked for by site.yaml:1 (set site), generation 3" in texts[0]
    order = [
        "revision 2 (apply by root) asked for it at site.yaml:1",
        "Created: ",
        "revision 3 (apply by root) changed it",
        "Updated: ",
    ]
    positions = [said.out.index(words) for words in order]
    assert positions == sorted(positions)
    assert "spec.mem_limit: 33554432 → 50331648" in said.out
    assert said.lines[-1] == "Nothing is left to do."


def test_why_tells_of_a_container_that_depends_on_another(engine: Engine) -> None:
    dependent = WEB.replace("name: web", "name: front").replace("mem_limit: LIMIT", "depends_on: [web]")
    engine.write("front.yaml", dependent)
    engine.ok("apply", "--set", "front", "front.yaml")
    assert engine.ok("why", "container/front").lines[-1] == "Nothing is left to do."
    (item,) = json.loads(engine.ok("get", "container/front", "-o", "json").out)["items"]
    assert item["needs"] == ["Container/web", "Image/busybox", "Network/default"]


def test_why_tells_what_still_differs_and_what_is_waited_for(engine: Engine) -> None:
    before = json.loads(engine.ok("why", "container/web", "-o", "json").out)
    assert before["differences"] == [] and before["waitsFor"] == [] and before["generation"] == 3
    shutil.rmtree(engine.layout.root / "volumes" / "data")
    said = engine.ok("why", "volume/data")
    assert "is Missing" in said.lines[0] and "Still differs (`trimtab apply` mends it):" in said.lines
    with contextlib.ExitStack() as stack:
        lost = engine.layout.root / "layers"
        lost.rename(engine.base / "layers")
        stack.callback((engine.base / "layers").rename, lost)
        waiting = engine.ok("why", "container/web").out
    assert "Waits for:\n  Image/busybox: " in waiting
