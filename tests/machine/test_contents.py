"""Secrets and Configs: from file, variable or text; files on tmpfs with owner and mode; a changed content replaces."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.volumes.secrets import read_secret
from tests.machine.machine import Machine, told
from tests.machine.probe import attempt, container, document, own_machine, refusal, run

pytestmark = pytest.mark.kernel

WORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("manifests")
    (made / "key.pem").write_text("from a file\n")
    return made


@pytest.fixture(scope="module")
def machine(busybox_tree: Path, directory: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree) as made, pytest.MonkeyPatch.context() as patch:
        made.file = str(directory / "shop.yaml")
        patch.setenv("PASSWORD", WORD)
        made.converge(made.image + contents() + containers())
        yield made


def contents(site: str = "listen 80\n") -> str:
    return (
        document("Secret", "key", file="./key.pem")
        + document("Secret", "password", environment="PASSWORD")
        + document("Secret", "token", content="xyz")
        + document("Config", "site", content=site)
    )


def containers() -> str:
    plain = container("plain", secrets=["key", "password"], configs=["site"])
    owned = container(
        "owned",
        user="1000:1000",
        secrets=[
            {"source": "token", "target": "mine", "uid": 1000, "gid": 1000, "mode": "0400"},
            {"source": "token", "target": "/etc/shared", "uid": 0, "gid": 1000, "mode": "0440"},
            {"source": "token", "target": "roots", "mode": "0400"},
        ],
        configs=[{"source": "site", "target": "/etc/site/site.conf", "mode": "0444"}],
    )
    host = container("host", userns_mode="host", secrets=[{"source": "token", "uid": 7, "gid": 8, "mode": "0440"}])
    joiner = container("joiner", network_mode="container:owned", secrets=[{"source": "token", "mode": "0400"}])
    return plain + owned + host + joiner


def test_contents_come_from_file_variable_and_text(machine: Machine) -> None:
    assert run(machine, "plain", "cat", "/run/secrets/key") == "from a file\n"
    assert run(machine, "plain", "cat", "/run/secrets/password") == WORD
    assert run(machine, "plain", "cat", "/site") == "listen 80\n"
    assert run(machine, "plain", "stat", "-c", "%u:%g %a", "/run/secrets/key") == "0:0 444\n"


def test_a_grant_has_the_owner_and_mode_it_names(machine: Machine) -> None:
    found = run(machine, "owned", "stat", "-c", "%u:%g %a", "/run/secrets/mine", "/etc/shared", "/etc/site/site.conf")
    assert found == "1000:1000 400\n0:1000 440\n0:0 444\n"
    assert run(machine, "owned", "cat", "/run/secrets/mine", "/etc/shared") == "xyzxyz"
    assert "Permission denied" in attempt(machine, "owned", "cat", "/run/secrets/roots")[1]


@pytest.mark.parametrize(("name", "owner"), [("host", "7:8 440"), ("joiner", "0:0 400")])
def test_owners_count_in_whatever_user_namespace_the_container_has(machine: Machine, name: str, owner: str) -> None:
    assert run(machine, name, "stat", "-c", "%u:%g %a", "/run/secrets/token") == f"{owner}\n"
    assert run(machine, name, "cat", "/run/secrets/token") == "xyz"


def test_contents_lie_on_tmpfs_and_cannot_be_written(machine: Machine) -> None:
    assert run(machine, "plain", "stat", "-f", "-c", "%T", "/run/secrets/key", "/site") == "tmpfs\ntmpfs\n"
    assert attempt(machine, "plain", "sh", "-c", "echo x > /run/secrets/key")[0] != 0


def test_no_content_reaches_the_disk_or_a_message(machine: Machine) -> None:
    found = subprocess.run(["grep", "-rl", WORD, str(machine.layout.root)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    plan = machine.diff(machine.image + contents().replace('"xyz"', '"changed"') + containers())
    assert told(plan)
    assert "xyz" not in " ".join(told(plan)) and "changed" not in " ".join(told(plan))


def test_a_changed_content_replaces_what_mounts_it_and_nothing_else(machine: Machine) -> None:
    before = {name: machine.process(name).pid for name in ("plain", "owned", "host")}
    machine.converge(machine.image + contents("listen 8080\n") + containers())
    assert run(machine, "plain", "cat", "/site") == "listen 8080\n"
    assert machine.process("plain").pid != before["plain"]
    assert machine.process("owned").pid != before["owned"]
    assert machine.process("host").pid == before["host"]


def test_a_changed_file_is_a_changed_content(machine: Machine, directory: Path) -> None:
    machine.converge(machine.image + contents("listen 8080\n") + containers())
    (directory / "key.pem").write_text("another\n")
    machine.converge(machine.image + contents("listen 8080\n") + containers())
    assert run(machine, "plain", "cat", "/run/secrets/key") == "another\n"


def test_a_content_that_went_with_a_reboot_comes_back_without_replacing(machine: Machine) -> None:
    text = machine.image + contents("listen 8080\n") + containers()
    machine.converge(text)
    before = machine.process("host").pid
    (machine.layout.secrets / "contents/Secret/token").unlink()
    plan = machine.diff(text)
    assert [str(action.key) for action in plan.effective] == ["Secret/token"]
    machine.converge(text)
    assert machine.process("host").pid == before


def test_a_file_that_is_not_there_is_refused_before_anything_is_touched(machine: Machine, directory: Path) -> None:
    said = refusal(machine, machine.image + document("Secret", "lost", file="./no-such-file"))
    assert "Secret/lost spec.file: cannot read" in said and "No such file" in said
    said = refusal(machine, machine.image + document("Secret", "lost", environment="NO_SUCH_VARIABLE"))
    assert "the variable NO_SUCH_VARIABLE is not set" in said


def test_a_removed_secret_leaves_the_tmpfs(machine: Machine) -> None:
    machine.converge(document("Secret", "passing", content="x"), "passing")
    assert read_secret(machine.layout, "Secret", "passing") is not None
    machine.delete("passing")
    assert read_secret(machine.layout, "Secret", "passing") is None


def test_a_config_document_may_be_structured_text(machine: Machine) -> None:
    value = json.dumps({"port": 80, "name": "$plain"})
    machine.converge(
        document("Config", "json", content=value) + container("json-reader", configs=["json"]), "structured"
    )
    assert json.loads(run(machine, "json-reader", "cat", "/json")) == {"port": 80, "name": "$plain"}
