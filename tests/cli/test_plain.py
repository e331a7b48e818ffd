"""Command lines that are understood without click: never otherwise than click understands them."""

from __future__ import annotations

import importlib

import click
import pytest

from reconciler.client import plain
from reconciler.client.plain import FLAGS, ON_TEXTS, VALUED, carried_out

CLICKS = {"diff": {"--against", "--fs"}}
"""Options that are left to click, by command."""


def command_of(name: str) -> click.Command:
    found = importlib.import_module(f"reconciler.cli.{name}_command").command
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("name", FLAGS)
def test_the_tables_say_what_the_command_declares(name: str) -> None:
    options = [each for each in command_of(name).params if isinstance(each, click.Option)]
    flags = {word for each in options if each.is_flag for word in (*each.opts, *each.secondary_opts)}
    valued = {word for each in options if not each.is_flag for word in each.opts}
    assert set(FLAGS[name]) == flags - CLICKS.get(name, set())
    assert set(VALUED[name]) == valued - CLICKS.get(name, set())
    assert all(each.nargs == 1 for each in options)
    assert (name in ON_TEXTS) == any(each.name == "paths" for each in command_of(name).params)


@pytest.mark.parametrize(
    "words",
    [
        ["apply", "a.yaml"],
        ["apply", "--set", "x", "a.yaml", "--no-wait", "b", "--parallel", "2"],
        ["apply", "-"],
        ["apply", "a", "--env-file", "one", "--env-file", "two", "-o", "json"],
        ["diff", "--prune", "--allow-empty", "a"],
        ["validate", "a", "b", "--env-file", "one"],
    ],
)
def test_files_are_named_as_click_names_them(words: list[str]) -> None:
    context = command_of(words[0]).make_context(words[0], list(words[1:]))
    named = {name: context.params[name] for name in ("paths", "env_files")}
    assert plain._parameters(words[0], words[1:]) == named


@pytest.mark.parametrize(
    "words",
    [
        ["apply"],
        ["apply", "--set=x", "a"],
        ["apply", "-ojson", "a"],
        ["apply", "--", "a"],
        ["apply", "a", "--set"],
        ["apply", "--set", "-x", "a"],
        ["apply", "--help"],
        ["apply", "--nonsense", "a"],
        ["diff", "--against", "3"],
    ],
)
def test_what_click_has_to_judge_is_left_to_it(words: list[str]) -> None:
    assert plain._parameters(words[0], words[1:]) is None


@pytest.mark.parametrize("line", [[], ["--root"], ["version"], ["--verbose", "diff", "a"], ["-H", "none", "diff", "a"]])
def test_what_is_no_daemons_is_left_to_click(line: list[str]) -> None:
    assert carried_out(line) is None


def test_what_is_said_of_the_engine_comes_before_the_command() -> None:
    assert plain._divided(["--root", "/r", "-H", "none", "get", "-o", "json"]) == (
        {"--root": "/r", "-H": "none"},
        ["get", "-o", "json"],
    )
