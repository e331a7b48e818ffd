"""What is installed for the product is imported by it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

CODE = Path(__file__).resolve().parents[2]
MODULES = {
    "pyyaml": "yaml",
    "backports.zstd": "backports",
    "cyclonedx-python-lib": "cyclonedx",
    "packageurl-python": "packageurl",
}
"""Where a module is not called like its package."""
DECLARED_EARLY: set[str] = set()
"""Packages of what is being built (docs/decisions/0001-libraries.md)."""


def declared() -> set[str]:
    project = tomllib.loads((CODE / "pyproject.toml").read_text())["project"]
    return {re.split(r"[>=<;\[ ]", each, maxsplit=1)[0] for each in project["dependencies"]}


def imported() -> set[str]:
    files = (path for room in ("reconciler", "runtime", "schemas") for path in (CODE / room).rglob("*.py"))
    found = (re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE) for path in files)
    return {name for names in found for name in names}


@pytest.mark.parametrize("package", sorted(declared() - DECLARED_EARLY))
def test_a_dependency_is_imported_by_the_product(package: str) -> None:
    module = MODULES.get(package, package).replace("-", "_")
    assert any(name == module or name.startswith(f"{module}.") for name in imported())
