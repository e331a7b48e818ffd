"""`trimtab system prune`: a preview in bytes, and what it never takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.engine import Engine

pytestmark = pytest.mark.kernel


@pytest.fixture
def lost(image_only: Engine, tmp_path: Path) -> Engine:
    """An engine with the declared image busybox, one by hand called spare, and a blob that nothing names."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x" * 50_000)
    tar = tmp_path / "spare.tar"
    subprocess.run(["tar", "-C", str(tmp_path / "tree"), "-cf", str(tar), "."], check=True)
    image_only.ok("image", "import", "spare", str(tar))
    orphan = image_only.layout.blobs / "sha256" / ("0" * 64)
    orphan.write_bytes(b"lost" * 1000)
    return image_only


def test_a_preview_tells_bytes_and_changes_nothing(lost: Engine) -> None:
    said = lost.ok("system", "prune", "--dry-run")
    assert said.lines == [f"- blob sha256:{'0' * 64}  3.9 KiB", "3.9 KiB can be freed."]
    document = json.loads(lost.ok("system", "prune", "--images", "--dry-run", "-o", "json").out)
    assert document["images"] == ["spare"]
    assert document["bytes"] == sum(part["bytes"] for part in document["parts"]) > 100_000
    assert "spare" in lost.ok("image", "ls", "-o", "name").lines


def test_nothing_goes_where_nobody_was_asked(lost: Engine) -> None:
    said = lost.run("system", "prune")
    assert said.code == 2 and "give --yes if that is meant" in said.err
    assert (lost.layout.blobs / "sha256" / ("0" * 64)).exists()


def test_what_nothing_names_goes_and_what_is_declared_stays(lost: Engine) -> None:
    lost.ok("system", "prune", "--images", "--yes")
    assert lost.ok("image", "ls", "-o", "name").lines == ["busybox"]
    assert lost.ok("system", "prune").lines == ["Nothing to free."]
    assert lost.ok("system", "fsck").lines[-1].endswith("all are what their digests say.")


def test_what_builds_keep_is_told_and_goes_with_all(image_only: Engine) -> None:
    (image_only.base / "app").mkdir()
    image_only.write("app/file", "content")
    image_only.write(
        "app/Dockerfile", "FROM busybox\nCOPY file /\nRUN --mount=type=cache,target=/c echo a > /c/x; echo b > /b\n"
    )
    image_only.ok("image", "build", "-q", "-t", "app", str(image_only.base / "app"))
    image_only.ok("image", "rm", "app")
    said = image_only.ok("system", "prune")
    assert said.lines[0] == "Nothing to free." and said.lines[1].endswith("more: --all frees that, too.")

    preview = json.loads(image_only.ok("system", "prune", "--all", "--dry-run", "-o", "json").out)
    parts = [part["part"] for part in preview["parts"]]
    assert (parts.count("layer"), parts.count("blob"), parts.count("cache mount")) == (2, 2, 1)
    told = image_only.ok("system", "prune", "--all", "--yes").lines
    assert told[-2].removesuffix(" can be freed.") == told[-1].removesuffix(" freed.")
    assert image_only.ok("system", "prune", "--all").lines == ["Nothing to free."]
    assert image_only.ok("image", "ls", "-o", "name").lines == ["busybox"]


def test_data_that_outlived_its_manifest_goes_with_volumes_alone(engine: Engine) -> None:
    for name in ("kept", "used"):
        text = f"apiVersion: trimtab/v1\nkind: Volume\nmetadata: {{name: {name}}}\nspec: {{}}\n"
        engine.ok("apply", "--set", name, engine.write(f"{name}.yaml", text))
    engine.ok("delete", "--set", "kept")
    assert engine.ok("system", "prune", "--all").lines == ["Nothing to free."]
    assert json.loads(engine.ok("system", "prune", "--volumes", "--dry-run", "-o", "json").out)["volumes"] == ["kept"]
    engine.ok("system", "prune", "--volumes", "--yes")
    assert engine.ok("get", "volumes", "-o", "name").lines == ["Volume/used"]
