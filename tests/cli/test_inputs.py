"""Which files are read, where variables come from, how many actions run at once; exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Barrier

import pytest

from reconciler.actions import Action, Plan, Verb
from reconciler.apply import Result, apply
from schemas.names import Key, Kind
from tests.cli.engine import Engine
from tests.cli.test_errors import trimtab

MANIFEST = {"apiVersion": "trimtab/v1", "kind": "Volume"}


def volume(name: str) -> str:
    return json.dumps({**MANIFEST, "metadata": {"name": name}}) + "\n"


def independent(count: int) -> Plan:
    keys = [Key(Kind.VOLUME, f"v{number}") for number in range(count)]
    return Plan(tuple(Action(Verb.CREATE, key, "does not exist") for key in keys))


def test_actions_that_need_nothing_of_each_other_run_at_once() -> None:
    both = Barrier(2)
    outcomes = apply(independent(2), lambda action: void(both.wait(20)), lambda *_: None, parallel=2)
    assert [outcome.result for outcome in outcomes] == [Result.CREATED, Result.CREATED]


def test_parallel_1_is_one_after_another() -> None:
    told: list[str] = []

    def perform(action: Action) -> None:
        told.extend([f"begin {action.key}", f"end {action.key}"])

    apply(independent(4), perform, lambda *_: None, parallel=1)
    assert [word.split()[0] for word in told] == ["begin", "end"] * 4
    assert all(begin.split()[1] == end.split()[1] for begin, end in zip(told[::2], told[1::2], strict=True))


def void(_: object) -> None:
    """For what has an answer that nobody wants."""


def test_a_directory_is_read_with_all_below_it_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "site/deep").mkdir(parents=True)
    (tmp_path / "site/deep/b.yml").write_text(volume("three"))
    (tmp_path / "site/deep/c.json").write_text(volume("four"))
    (tmp_path / "site/notes.txt").write_text("not: [yaml")
    (tmp_path / "site/a.yaml").write_text(volume("one") + "---\n" + volume("two"))
    said = trimtab("validate", "site", at=tmp_path)
    assert (said.code, said.out) == (0, "4 objects are valid.\n"), said
    (tmp_path / "site/deep/c.json").write_text(volume("one"))
    again = trimtab("validate", "site", at=tmp_path)
    assert again.code == 2 and "site/deep/c.json:1:" in again.err and "already declared at site/a.yaml:1" in again.err


@pytest.mark.kernel
def test_variables_come_from_the_file_and_the_environment_over_it(engine: Engine) -> None:
    engine.write("own.env", "LEVEL=of-the-file\nOTHER=of-the-file\n")
    engine.environment["OTHER"] = "of-the-environment"
    labels = {"level": "${LEVEL:-none}", "other": "${OTHER:-none}", "unset": "${NOBODY_SAYS:-none}"}
    text = json.dumps({**MANIFEST, "metadata": {"name": "told", "labels": labels}})
    engine.ok("apply", "--env-file", "own.env", "--set", "told", engine.write("told.yaml", text))
    wanted = "level=of-the-file,other=of-the-environment,unset=none"
    assert engine.ok("get", "volumes", "-l", wanted, "-o", "name").lines == ["Volume/told"]


@pytest.mark.kernel
def test_exit_codes_of_a_diff_are_those_of_kubectl(engine: Engine) -> None:
    path = engine.write("data.yaml", volume("data"))
    assert engine.run("apply", "--dry-run", "--set", "data", path).code == 0
    assert engine.run("diff", "--set", "data", path).code == 1
    assert engine.run("apply", "--set", "data", path).code == 0
    assert engine.run("diff", "--set", "data", path).code == 0
    wrong = engine.write("wrong.yaml", "kind: Volume\n")
    assert [engine.run(verb, wrong).code for verb in ("diff", "apply")] == [2, 2]
