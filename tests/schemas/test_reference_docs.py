"""docs/reference and docs/schemas are what the models say, and `--check` tells when they are not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from schemas import reference_docs
from schemas.field import fields_of
from schemas.names import Kind
from schemas.reference_docs import documents, main, reference, stale, write
from schemas.spec_models import SPEC_MODELS


def test_the_generated_files_are_in_step() -> None:
    assert stale() == [], "run python -m schemas.reference_docs --write"


def test_a_changed_a_missing_and_a_left_over_file_are_found_and_mended(tmp_path: Path) -> None:
    assert len(write(tmp_path)) == len(documents())
    (tmp_path / "reference/container.md").write_text("old")
    (tmp_path / "schemas/volume.schema.json").unlink()
    (tmp_path / "reference/pod.md").write_text("left over")
    expected = ["reference/container.md", "reference/pod.md", "schemas/volume.schema.json"]
    assert stale(tmp_path) == expected
    assert write(tmp_path) == expected
    assert stale(tmp_path) == []


def test_the_command_says_what_is_out_of_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference_docs.stale, "__defaults__", (tmp_path,))
    assert main(["--check"]) == 1
    assert "docs/reference/container.md: out of step with the models; run with --write" in capsys.readouterr().out


@pytest.mark.parametrize("kind", list(Kind))
def test_every_field_is_in_its_kinds_page(kind: Kind) -> None:
    page = reference(kind)
    headings = set(re.findall(r"^## (.*)$", page, re.MULTILINE))
    for path, info in fields_of(SPEC_MODELS[kind]).items():
        assert f"| `{info.name}` |" in page or f"| [{info.name}](#" in page, path
        assert info.model is None or f"spec.{path}" in headings


@pytest.mark.parametrize("kind", list(Kind))
def test_every_link_of_a_page_leads_somewhere(kind: Kind) -> None:
    page = reference(kind)
    anchors = {re.sub(r"[^a-z0-9_-]", "", heading.lower()) for heading in re.findall(r"^## (.*)$", page, re.MULTILINE)}
    for target in re.findall(r"\]\(#([^)]*)\)", page):
        assert target in anchors


def test_every_schema_is_json() -> None:
    for name, text in documents().items():
        if name.endswith(".json"):
            assert json.loads(text)["$schema"].startswith("https://json-schema.org/")
