"""Commands about manifests that the daemon has: files that those name are its own to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.client.errand import wanted_files
from runtime.process.client import read_process
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import daemon

pytestmark = pytest.mark.kernel

SITE = """\
---
apiVersion: trimtab/v1
kind: Secret
metadata: {name: password}
spec: {file: password.txt}
---
apiVersion: trimtab/v1
kind: Config
metadata: {name: banner}
spec: {file: banner.txt}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: db}
spec:
  image: busybox
  command: [sleep, "1000"]
  mem_limit: LIMIT
  stop_grace_period: 0s
  env_file: [some.env]
  secrets: [password]
  configs: [banner]
"""
FILES = {"password.txt": "a password\n", "banner.txt": "hello\n", "some.env": "COLOUR=red\n"}


@pytest.fixture
def site(busybox_tree: Path) -> Iterator[Engine]:
    """Two revisions of the set `site`, applied through the daemon that goes on."""
    with making_engine() as engine, daemon(engine):
        for name, text in FILES.items():
            engine.write(name, text)
        for limit in ("32m", "48m"):
            image = shop_manifest(busybox_tree).partition("---")[0]
            engine.write("site.yaml", image + SITE.replace("LIMIT", limit))
            engine.ok("apply", "--set", "site", "site.yaml")
        yield engine


def memory_limit(engine: Engine) -> object:
    (item,) = json.loads(engine.ok("get", "container/db", "-o", "json").out)["items"]
    return item["facts"]["limits"]["memory"]["limit"]


def test_what_is_asked_of_stored_manifests_needs_no_file_of_the_client(site: Engine) -> None:
    db = "container/db"
    for words in (["why", "db"], ["why", "secret/password"], ["wait", db], ["describe", db], ["reconcile", db]):
        assert site.run(*words).code == site.run("-H", "none", *words).code == 0, words
    assert "Nothing is left to do" in site.ok("why", "db").out
    assert site.run("diff", "--against", "1").code == 1
    assert site.run("diff", "--against", "2").code == 0
    site.ok("rollback", "site", "--to", "1")
    assert memory_limit(site) == 32 << 20


def test_files_that_are_gone_or_were_another_machines_leave_everything_as_it_is(site: Engine) -> None:
    before = read_process(site.layout, "db")
    for name in FILES:
        (site.base / name).unlink()
    assert "Nothing is left to do" in site.ok("why", "db").out
    assert "Nothing to do" in site.ok("reconcile", "container/db").out
    assert site.run("diff", "--against", "2").code == 0
    site.ok("rollback", "site", "--to", "1")
    assert memory_limit(site) == 32 << 20
    after = read_process(site.layout, "db")
    assert before is not None and after is not None and before.pid == after.pid
    said = site.ok("exec", "db", "sh", "-c", "echo $COLOUR; cat /run/secrets/password /banner")
    assert said.lines == ["red", "a password", "hello"]


def test_a_content_that_is_nowhere_is_told_by_a_rollback_and_changes_nothing(site: Engine) -> None:
    other = (site.base / "site.yaml").read_text().replace("password.txt", "other.txt")
    site.write("other.txt", "another\n")
    site.write("site.yaml", other)
    site.ok("apply", "--set", "site", "site.yaml")
    (site.base / "password.txt").unlink()
    for host in ([], ["-H", "none"]):
        said = site.run(*host, "rollback", "site", "--to", "1")
        assert said.code == 2 and "password.txt" in said.err, said
    assert site.ok("exec", "db", "cat", "/run/secrets/password").lines == ["another"]


def test_a_daemon_is_given_no_file_that_nothing_sent_has_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("mine")
    with pytest.raises(PermissionError, match="no manifest names"):
        wanted_files([str(tmp_path / "key")], {"words": ["why", "db"], "environment": {}})
    sent = {"words": ["diff", "x.yaml"], "texts": [["x.yaml", "spec: {file: key}"]], "environment": {}}
    assert wanted_files([str(tmp_path / "key")], sent) == {str(tmp_path / "key"): "mine"}
