"""Help that fits a screen, and mistakes that are told in words."""

from __future__ import annotations

import importlib
import re

import click
import pytest
from click.testing import CliRunner

from reconciler.cli.commands import ELSEWHERE, FIRST, MORE, cli
from tests.cli.engine import Engine

NAMES = [*FIRST, *MORE]


@pytest.mark.parametrize("width", [80, 100])
def test_the_help_fits_a_screen(width: int) -> None:
    lines = CliRunner().invoke(cli, ["--help"], terminal_width=width).output.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width


def test_the_five_that_a_newcomer_needs_come_first() -> None:
    lines = CliRunner().invoke(cli, ["--help"]).output.splitlines()
    start = lines.index("Start with:")
    assert [line.split()[0] for line in lines[start + 1 : start + 6]] == ["validate", "diff", "apply", "get", "logs"]
    assert lines[start + 6] == ""


def test_every_command_that_the_help_names_exists() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    for name in NAMES:
        assert f"  {name} " in text
        assert isinstance(importlib.import_module(f"reconciler.cli.{name}_command").command, click.Command)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_a_help_of_its_own(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cli {name} ")


@pytest.mark.kernel
def test_a_misspelled_command_is_told_the_nearest(engine: Engine) -> None:
    said = engine.run("appyl")
    assert (said.code, said.out) == (2, "")
    assert "there is no command `appyl`. Did you mean `trimtab apply`?" in said.err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("ps", "get containers"),
        ("up", "apply"),
        ("down", "delete"),
        ("inspect", "describe"),
        ("run", "apply"),
        ("rmi", "image rm"),
        ("images", "image ls"),
    ],
)
def test_a_command_of_another_tool_is_told_what_does_its_work_here(word: str, told: str) -> None:
    result = CliRunner().invoke(cli, [word])
    assert result.exit_code == 2
    assert f"there is no command `{word}`." in result.output and told in result.output


def test_no_hint_names_a_command_that_is_not_there() -> None:
    known = cli.list_commands(click.Context(cli))
    named = [word for hint in ELSEWHERE.values() for word in re.findall("`trimtab ([a-z]+)", hint)]
    assert named and set(named) <= set(known) and not ELSEWHERE.keys() & set(known)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diff", "nothing.yaml"], "no such file or directory (nothing.yaml)"),
        (["apply"], "Missing argument 'PATH...'"),
        (["delete"], "give a PATH, or --set NAME"),
        (["validate", "--env-file", "nothing.env", "x.yaml"], "nothing.env"),
        (["explain", "containr"], "did you mean container?"),
        (["explain", "container.prots"], "did you mean container.ports?"),
        (["schema", "containr"], "did you mean container?"),
        (["get", "-o", "xml"], "'xml' is not one of"),
        (["logs", "web", "-f", "--until", "1m"], "exclude each other"),
        (["logs", "web", "--since", "soon"], "'soon' is no time"),
        (["exec", "web"], "Missing argument"),
        (["describe", "web"], "names no object"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_mistakes_are_told_in_words_and_exit_with_2(engine: Engine, arguments: list[str], message: str) -> None:
    said = engine.run(*arguments)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.mark.kernel
def test_a_damaged_store_is_told_with_its_path(engine: Engine) -> None:
    engine.layout.root.mkdir()
    engine.layout.store.write_text("this is no database, whatever its name says")
    said = engine.ok("get")
    assert f"The old file is kept as {engine.layout.store}.damaged-" in said.err
    assert "Traceback" not in said.err


@pytest.mark.kernel
def test_a_schema_is_printed_or_written(engine: Engine) -> None:
    printed = engine.ok("schema", "volumes").out
    assert '"title": "trimtab Volume"' in printed
    engine.ok("schema", "volume", "--output", "volume.json")
    assert (engine.base / "volume.json").read_text() == printed
