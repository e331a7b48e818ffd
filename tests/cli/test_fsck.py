"""`trimtab system fsck`: what the disk or a hand has spoilt is found, and brought anew."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.registry.fake import serving
from tests.registry.samples import image, layer_tar

pytestmark = pytest.mark.kernel


@pytest.fixture
def engine(busybox_tree: Path) -> Iterator[Engine]:
    """With an image of a directory, and one of a registry."""
    with making_engine() as made, serving() as registry:
        made.layout.root.mkdir()
        (made.layout.root / "registries.yaml").write_text(f"registries:\n  {registry.host}: {{insecure: true}}\n")
        registry.hold(image(layer_tar({"dir/file": b"content"}), layer_tar({"other": b"x"})))
        made.write("image.yaml", shop_manifest(busybox_tree).partition("---")[0])
        made.ok("apply", "--set", "base", "image.yaml")
        made.ok("image", "pull", f"{registry.host}/sample:latest", "-q")
        yield made


def test_a_sound_store_is_said_to_be_sound(engine: Engine) -> None:
    said = engine.ok("system", "fsck")
    assert "all are what their digests say" in said.out and "3 layers" in said.out


def pulled(engine: Engine) -> dict[str, Any]:
    """What `image inspect` says of the image of the registry."""
    (name,) = [name for name in engine.ok("image", "ls", "-o", "name").lines if name != "busybox"]
    (facts,) = json.loads(engine.ok("image", "inspect", name).out)
    return {**facts, "name": name}


def spoil(path: Path) -> None:
    """Other bytes, as many, at the same time: what only reading shows."""
    before = path.stat()
    path.write_bytes(b"X" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def layer_file(engine: Engine, facts: dict[str, Any]) -> Path:
    name = str(facts["layers"][0]["diff_id"]).removeprefix("sha256:")
    return engine.layout.layers / name / "tree" / "dir" / "file"


def test_a_spoilt_blob_is_found_and_pulled_again(engine: Engine) -> None:
    facts = pulled(engine)
    digest = facts["layers"][0]["blob"]
    path = engine.layout.blobs / digest.replace(":", "/")
    spoil(path)
    said = engine.run("system", "fsck")
    assert said.code == 1 and f"! blob {digest} holds sha256:" in said.out and facts["name"] in said.out
    mended = engine.ok("system", "fsck", "--repair")
    assert "1 were damaged, 0 images could not be mended" in mended.out
    assert engine.run("system", "fsck").code == 0


@pytest.mark.parametrize("deed", ["content", "mode", "more", "less", "owner"])
def test_a_layer_that_was_changed_below_its_top_is_found_and_unpacked_again(engine: Engine, deed: str) -> None:
    facts = pulled(engine)
    file = layer_file(engine, facts)
    match deed:
        case "content":
            spoil(file)
        case "mode":
            file.chmod(0o4755)
        case "more":
            (file.parent / "added").touch()
        case "less":
            file.unlink()
        case "owner":
            os.chown(file, 5, 5)
    (damage,) = json.loads(engine.run("system", "fsck", "-o", "json").out)["damages"]
    assert damage["part"] == "layer" and damage["images"] == [facts["name"]] and damage["problem"].startswith("/dir")
    engine.ok("system", "fsck", "--repair")
    assert file.read_bytes() == b"content" and file.stat().st_mode & 0o7777 == 0o644
    assert engine.run("system", "fsck").code == 0


def test_what_cannot_be_brought_again_is_told(engine: Engine, busybox_tree: Path) -> None:
    facts = pulled(engine)
    (engine.layout.root / "registries.yaml").unlink()
    spoil(engine.layout.blobs / facts["layers"][0]["blob"].replace(":", "/"))
    said = engine.run("system", "fsck", "--repair")
    assert said.code == 1 and f"! Image/{facts['name']} cannot be mended" in said.out


def test_an_image_that_was_built_is_built_again_by_an_apply(engine: Engine) -> None:
    (context := engine.layout.root.parent / "context").mkdir()
    (context / "file").write_text("content")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /dir/file\n")
    head = "apiVersion: trimtab/v1\nkind: Image\nmetadata: {name: made}\n"
    engine.write("made.yaml", f"{head}spec: {{build: {{context: {context}}}}}\n")
    engine.ok("apply", "--set", "made", "made.yaml")
    (facts,) = json.loads(engine.ok("image", "inspect", "made").out)
    spoil(layer_file(engine, facts))
    said = engine.run("system", "fsck", "--repair")
    assert said.code == 1 and "! Image/made cannot be mended: it was built here; `trimtab apply` of" in said.out
    engine.ok("apply", "--set", "made", "made.yaml")
    (anew,) = json.loads(engine.ok("image", "inspect", "made").out)
    assert layer_file(engine, anew).read_text() == "content"
    assert engine.run("system", "fsck").code == 0


def test_checking_leaves_nothing_behind(engine: Engine) -> None:
    before = sorted(path.name for path in engine.layout.layers.iterdir())
    engine.ok("system", "fsck")
    assert sorted(path.name for path in engine.layout.layers.iterdir()) == before
