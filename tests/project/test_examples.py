"""What the documentation shows is true: manifests are valid, links and commands exist, no private place is named."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from reconciler.cli.entry import FIRST, MORE
from schemas.check import check
from schemas.load import Text, load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
MANIFESTS = sorted((ROOT / "manifests").glob("**/*.yaml"))
ENVIRONMENT = {"DB_PASSWORD": "x"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def yaml_blocks() -> list[tuple[str, str]]:
    """Every block of YAML in the pages that is a manifest."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        found += [(named(page), block) for block in blocks if block.startswith("apiVersion:")]
    return found


@pytest.mark.parametrize(("page", "text"), yaml_blocks())
def test_a_manifest_in_the_documentation_is_valid(page: str, text: str) -> None:
    assert check(load([Text(page, text)], ENVIRONMENT)) == []


@pytest.mark.parametrize("directory", sorted({path.parent for path in MANIFESTS}), ids=named)
def test_the_example_manifests_are_valid_together(directory: Path) -> None:
    for texts in [list(directory.glob("*.yaml"))] if directory.name == "quickstart" else directory.glob("*.yaml"):
        files = texts if isinstance(texts, list) else [texts]
        declared = load([Text(str(file), file.read_bytes()) for file in files], {})
        assert declared and check(declared) == []


@pytest.mark.parametrize("file", MANIFESTS, ids=named)
def test_an_example_names_its_schema_for_editors(file: Path) -> None:
    schema = re.match(r"# yaml-language-server: \$schema=(\S+)\n", file.read_text())
    assert schema is not None
    assert (file.parent / schema[1]).resolve().is_file()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_commands_named_exist(page: Path) -> None:
    for command in re.findall(r"`trimtab ([a-z]+)", page.read_text()):
        assert command in FIRST or command in MORE, command


def test_no_text_names_a_private_place() -> None:
    """Neither a directory of somebody's machine nor a mirror that packages came from."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        return
    private = re.compile(r"/work/(main|shared)|/root/\.pyenv|deb\.debian\.org|pypi\.org|registry\.npmjs")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".toml", "") and path.is_file() and path != Path(__file__):
            assert not private.search(path.read_text(errors="replace")), name
