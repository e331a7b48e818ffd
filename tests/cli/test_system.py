"""`trimtab system`: who the engine is, what the machine lacks, what the disk holds."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

import reconciler.cli.system.check as system_check
from reconciler.cli.disk_usage import tree_bytes
from reconciler.cli.system_command import command
from runtime.kernel.features import Feature
from runtime.layout import Layout
from tests.cli.engine import Engine

kernel = pytest.mark.kernel


def du(*paths: Path) -> int:
    """Bytes as du counts them, each path by itself."""
    told = [
        subprocess.run(["du", "-sx", "--block-size=1", str(path)], check=True, capture_output=True, text=True).stdout
        for path in paths
    ]
    return sum(int(line.split()[0]) for line in told)


def test_bytes_are_those_of_du(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/file").write_bytes(b"x" * 10_000)
    os.link(tmp_path / "deep/er/file", tmp_path / "link")
    (tmp_path / "symlink").symlink_to("/usr")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    assert tree_bytes(tmp_path) == du(tmp_path)
    assert tree_bytes(tmp_path / "nothing") == 0


@kernel
def test_the_disk_is_told_exactly(shop: Engine) -> None:
    document = json.loads(shop.ok("system", "df", "-o", "json").out)
    layout = shop.layout
    layers = {layer["digest"].partition(":")[2]: layer["bytes"] for layer in document["layers"]}
    assert layers == {path.name: du(path) for path in layout.layers.iterdir() if len(path.name) == 64}
    assert sum(blob["bytes"] for blob in document["blobs"]) == du(*(layout.blobs / "sha256").iterdir())
    assert {each["name"]: each["bytes"] for each in document["volumes"]} == {"pages": du(layout.volumes / "pages")}
    for container in document["containers"]:
        assert container["writable"] + container["log"] == du(layout.container(container["name"]))


@kernel
def test_a_shared_layer_is_told_apart(image_only: Engine) -> None:
    image_only.ok("image", "save", "busybox", "--output", "saved.tar")
    image_only.ok("image", "load", "saved.tar", "--name", "twin")
    try:
        document = json.loads(image_only.ok("system", "df", "-o", "json").out)
        (layer,) = document["layers"]
        assert layer["images"] == ["busybox", "twin"]
        twin = next(image for image in document["images"] if image["name"] == "twin")
        assert twin["shared"] >= layer["bytes"]
        assert twin["bytes"] == twin["shared"] + twin["unique"]
        assert document["reclaimable"] == 0
    finally:
        image_only.ok("image", "rm", "twin")


@kernel
def test_the_summary_names_what_each_container_takes(shop: Engine) -> None:
    lines = shop.ok("system", "df").lines
    assert lines[0].split() == ["TYPE", "COUNT", "SIZE", "UNUSED"]
    assert any(line.startswith("db ") for line in lines)
    assert any(line.startswith("pages ") for line in lines)


@kernel
def test_info_tells_the_engine_and_its_processes(shop: Engine) -> None:
    document = json.loads(shop.ok("system", "info", "-o", "json").out)
    assert document["engine"]["id"] == shop.layout.engine_id
    assert document["objects"]["Container"] == 3
    assert document["processes"] == {"running": 3}
    assert document["sets"] == {"shop": "shop.yaml"}
    assert document["launcher"]["state"] == "running"
    assert Path(f"/proc/{document['launcher']['pid']}").exists()
    assert document["dns"]["state"] == "running"
    assert "launcher:" in shop.ok("system", "info").lines


@kernel
def test_asking_an_unused_engine_makes_nothing(engine: Engine) -> None:
    document = json.loads(engine.ok("system", "info", "-o", "json").out)
    assert document["launcher"]["state"].startswith("not running")
    assert not engine.layout.root.exists()


@kernel
def test_this_machine_has_what_is_required(engine: Engine) -> None:
    said = engine.ok("system", "check", "--all")
    assert "everything required is here." in said.lines[-1]
    features = json.loads(engine.ok("system", "check", "-o", "json").out)["features"]
    assert {feature["name"] for feature in features} >= system_check.REQUIRED


def checked(monkeypatch: pytest.MonkeyPatch, *features: Feature) -> tuple[int, str]:
    monkeypatch.setattr(system_check, "probe", lambda root: features)
    result = CliRunner().invoke(command, ["check"], obj=Layout())
    return result.exit_code, result.output


def test_what_is_missing_is_told_with_what_it_switches_off_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = Feature("ipvlan", False, "the kernel knows none", "networks with driver ipvlan", "load the module")
    code, text = checked(monkeypatch, Feature("overlay", True, "", "containers", "-"), lacking)
    assert "missing: ipvlan\n  switches off: networks with driver ipvlan\n" in text
    assert "  because: the kernel knows none\n  remedy: load the module\n" in text
    assert code == (0 if os.geteuid() == 0 else 1)


def test_a_missing_requirement_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = checked(monkeypatch, Feature("overlay", False, "no such file system", "containers", "load it"))
    assert code == 1
    assert "missing: overlay (required)" in text
    assert "1 required missing" in text or os.geteuid() != 0
