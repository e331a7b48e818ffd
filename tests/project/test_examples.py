"""What the documentation shows is true: manifests are valid, links and commands exist, no private place is named."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from reconciler.cli.commands import FIRST, MORE, cli
from schemas.check import check
from schemas.load import Text, load

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/decisions").glob("*.md")),
]
MANIFESTS = sorted((ROOT / "manifests").glob("**/*.yaml"))
ENVIRONMENT = {"DB_PASSWORD": "x"}
SCHEMA_LINE = re.compile(r"^# yaml-language-server: \$schema=(\S+)$", re.MULTILINE)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def yaml_blocks() -> list[tuple[str, str]]:
    """Every block of YAML in the pages that is a manifest."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        found += [(named(page), block) for block in blocks if re.search("^apiVersion:", block, re.MULTILINE)]
    return found


def commands_of(text: str) -> Iterator[list[str]]:
    """The words after `trimtab`, in inline code and after a prompt."""
    inline = re.findall(r"`trimtab ([^`]+)`", text)
    typed = re.findall(r"^[$#] trimtab ([^|>\n]+)", text, re.MULTILINE)
    for line in [*inline, *typed]:
        yield line.split()


def command_called(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words call, and the words that are left. Raises UsageError for one that is not there."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and re.fullmatch("[a-z]+", words[0].rstrip(",")):
        name, words = words[0].rstrip(","), words[1:]
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"there is no command {name}")
        command = found
    return command, words


@pytest.mark.parametrize(("page", "text"), yaml_blocks())
def test_a_manifest_in_the_documentation_is_valid(page: str, text: str) -> None:
    assert check(load([Text(page, text)], ENVIRONMENT)) == []


def test_the_readme_and_the_guide_show_manifests() -> None:
    assert {"README.md", "docs/manifests.md", "docs/images.md"} <= {page for page, _ in yaml_blocks()}


@pytest.mark.parametrize("directory", sorted({path.parent for path in MANIFESTS}), ids=named)
def test_the_example_manifests_are_valid_together(directory: Path) -> None:
    for texts in [list(directory.glob("*.yaml"))] if directory.name == "quickstart" else directory.glob("*.yaml"):
        files = texts if isinstance(texts, list) else [texts]
        declared = load([Text(str(file), file.read_bytes()) for file in files], {})
        assert declared and check(declared) == []


@pytest.mark.parametrize("file", MANIFESTS, ids=named)
def test_an_example_names_its_schema_for_editors(file: Path) -> None:
    schema = SCHEMA_LINE.match(file.read_text())
    assert schema is not None
    assert (file.parent / schema[1]).resolve().is_file()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_names_schemas_that_exist(page: Path) -> None:
    for schema in SCHEMA_LINE.findall(page.read_text()):
        assert (ROOT / schema).is_file(), schema


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_of_the_project_that_are_named_exist(page: Path) -> None:
    for target in re.findall(r"`((?:schemas|runtime|reconciler|tests|benchmarks)/[\w./-]+)`", page.read_text()):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_commands_named_exist_with_their_options(page: Path) -> None:
    for words in commands_of(page.read_text()):
        command, rest = command_called(words)
        known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
        given = {word.partition("=")[0].rstrip(",") for word in rest if re.match("--?[a-z]", word)}
        assert given <= known, f"trimtab {' '.join(words)}"


def commands_there_are() -> list[str]:
    """`image push`: every command that help shows, with those of its groups."""
    context, found = click.Context(cli), []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        inner = command.commands.items() if isinstance(command, click.Group) else ()
        found += [name, *(f"{name} {each}" for each, below in inner if not below.hidden)]
    return found


@pytest.mark.parametrize("command", commands_there_are())
def test_a_command_is_told_of_in_the_pages(command: str) -> None:
    assert any(re.search(rf"trimtab {command}\b", page.read_text()) for page in PAGES)


def test_the_commands_that_help_lists_are_there() -> None:
    for name in (*FIRST, *MORE):
        assert cli.get_command(click.Context(cli), name) is not None


@pytest.mark.parametrize("target", ["run", "clean-run", "test", "test-vm", "check", "bench", "format", "help"])
def test_the_targets_that_pages_name_are_in_the_makefile(target: str) -> None:
    assert any(f"make {target}" in page.read_text() for page in PAGES)
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def committed() -> Iterator[tuple[str, str]]:
    """Name and text of every file in git; none outside of a clone."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("missing: a git clone")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".json", "") and path.is_file() and path != Path(__file__):
            yield name, path.read_text(errors="replace")


def test_no_text_names_a_private_place() -> None:
    """Neither a directory of somebody's machine nor a mirror that packages came from."""
    private = re.compile(r"/work/(main|shared)|/root/\.pyenv|deb\.debian\.org|pypi\.org|registry\.npmjs")
    mirrors = mirror_hosts()
    for name, text in committed():
        assert not private.search(text), name
        assert not any(host in text for host in mirrors), name


@pytest.mark.parametrize("page", [*PAGES, *MANIFESTS], ids=named)
def test_no_page_names_a_directory_of_somebody(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|root|home|tmp)/", page.read_text())


def mirror_hosts() -> set[str]:
    """Hosts that this machine's pip and apt are set up with."""
    files = [Path("/etc/pip.conf"), Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    texts = [file.read_text(errors="replace") for file in files if file.is_file()]
    texts += [value for name, value in os.environ.items() if name.startswith("PIP_")]
    hosts = set(re.findall(r"https?://(?:[^/@\s]*@)?([^/:\s'\"]+)", "\n".join(texts)))
    return {host for host in hosts if re.search(r"[a-z]", host) and "." in host}
