"""`trimtab image`: images by hand."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.resolve.expand import implicit_name
from tests.cli.engine import Engine
from tests.registry.distribution import docker_registry
from tests.registry.fake import Fake, serving
from tests.registry.samples import image, layer_tar

pytestmark = pytest.mark.kernel


@pytest.fixture
def rootfs_tar(busybox_tree: Path, tmp_path: Path) -> Path:
    path = tmp_path / "rootfs.tar"
    subprocess.run(["tar", "-C", str(busybox_tree), "-cf", str(path), "."], check=True)
    return path


@pytest.fixture
def registry(engine: Engine) -> Iterator[Fake]:
    """On loopback of the engine's own network."""
    with serving() as made:
        (engine.layout.root).mkdir()
        (engine.layout.root / "registries.yaml").write_text(f"registries:\n  {made.host}: {{insecure: true}}\n")
        yield made


@pytest.fixture
def own_registry(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """Debian's registry, on loopback of the engine's own network; its `host:port`."""
    with docker_registry(tmp_path / "registry") as made:
        engine.layout.root.mkdir(exist_ok=True)
        (engine.layout.root / "registries.yaml").write_text(f"registries:\n  {made.host}: {{insecure: true}}\n")
        yield made.host


def test_an_imported_tar_runs(engine: Engine, rootfs_tar: Path) -> None:
    said = engine.ok("image", "import", "tiny", str(rootfs_tar), "--cmd", "sh", "--cmd", "-c", "--cmd", "echo ran")
    assert said.out == "tiny\n"
    engine.write("run.yaml", "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: once}\nspec: {image: tiny}\n")
    engine.ok("apply", "run.yaml")
    assert engine.ok("logs", "-f", "once").out == "ran\n"
    assert engine.ok("image", "ls", "-o", "name").lines == ["tiny"]
    said = engine.run("image", "rm", "tiny")
    assert said.code == 2
    assert "Image/tiny is used by Container/once" in said.err
    engine.ok("delete", "run.yaml")


def test_an_image_travels_by_archive_and_by_stream(image_only: Engine, engine: Engine) -> None:
    saved = str(engine.base / "busybox.tar")
    image_only.ok("image", "save", "busybox", "--output", saved)
    assert engine.ok("image", "load", saved).out == "busybox\n"
    stream = image_only.run("image", "save", "busybox", "--format", "oci-archive", "--output", "stream.tar")
    assert stream.code == 0
    loaded = engine.run("image", "load", "-", "--name", "again", stdin=(image_only.base / "stream.tar").read_bytes())
    assert (loaded.code, loaded.out) == (0, "again\n")
    assert [path.name for path in engine.layout.root.iterdir() if path.name.startswith(".load")] == []
    engine.ok("image", "save", "again", "--format", "oci-layout", "--output", "layout")
    assert json.loads((engine.base / "layout/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert engine.ok("image", "ls", "-o", "name").lines == ["again", "busybox"]


def test_a_pipe_that_is_saved_to_stays_one(image_only: Engine) -> None:
    pipe = image_only.base / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["wc", "-c", pipe], stdout=subprocess.PIPE)
    image_only.ok("image", "save", "busybox", "--output", str(pipe))
    said, _ = reader.communicate(timeout=30)
    assert pipe.is_fifo() and int(said.split()[0]) > 100_000
    pipe.unlink()


def test_removing_the_last_image_frees_its_layers(engine: Engine, rootfs_tar: Path) -> None:
    engine.ok("image", "import", "tiny", str(rootfs_tar))
    assert list((engine.layout.blobs / "sha256").iterdir()) != []
    said = engine.ok("image", "rm", "tiny")
    assert said.lines[0] == "- Image/tiny removed"
    assert list((engine.layout.blobs / "sha256").iterdir()) == []
    assert [path for path in engine.layout.layers.iterdir() if len(path.name) == 64] == []


def test_a_declared_image_is_neither_removed_nor_replaced(image_only: Engine, rootfs_tar: Path) -> None:
    removed = image_only.run("image", "rm", "busybox")
    assert removed.code == 2
    assert "Image/busybox is declared by the set base (image.yaml:1)" in removed.err
    replaced = image_only.run("image", "import", "busybox", str(rootfs_tar))
    assert replaced.code == 2
    assert "declared by the set base" in replaced.err


def test_inspect_is_a_list_of_everything(image_only: Engine) -> None:
    (told,) = json.loads(image_only.ok("image", "inspect", "busybox").out)
    assert told["name"] == "busybox"
    assert told["config"] == {"Cmd": ["sh"], "Env": ["PATH=/bin"]}
    assert told["layers"][0]["diff_id"].startswith("sha256:")
    by_digest = json.loads(image_only.ok("image", "inspect", told["digest"][:20]).out)
    assert by_digest[0]["name"] == "busybox"


def test_a_pull_has_the_name_that_a_manifest_implies_and_plain_lines_tell_of_it(engine: Engine, registry: Fake) -> None:
    registry.hold(image(layer_tar({"etc/motd": b"hello"})), tag="1.0")
    reference = f"{registry.host}/team/app:1.0"
    said = engine.ok("image", "pull", reference)
    name = said.out.strip()
    assert name == implicit_name(reference)
    assert any(line.startswith(f"{name}: pulling ") for line in said.err.splitlines())
    assert "\r" not in said.err
    asked = len(registry.seen)
    engine.write(
        "app.yaml",
        f"apiVersion: trimtab/v1\nkind: Container\nmetadata: {{name: app}}\n"
        f"spec: {{image: {reference}, command: [x], state: stopped}}\n",
    )
    engine.ok("apply", "app.yaml")
    assert len(registry.seen) == asked
    assert name in engine.ok("image", "ls", "-o", "name").lines
    assert json.loads(engine.ok("image", "inspect", reference).out)[0]["usedBy"] == ["app"]
    engine.ok("delete", "app.yaml")


def test_quiet_tells_the_name_alone(engine: Engine, registry: Fake) -> None:
    registry.hold(image(layer_tar({"a": b"b"})))
    assert engine.ok("image", "pull", "--quiet", f"{registry.host}/app").err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pull", "UPPER"], "read reference"),
        (["pull", "localhost:1/app"], "no connection to localhost:1"),
        (["rm", "nope"], "there is no image 'nope'"),
        (["inspect", "bussybox"], "did you mean busybox?"),
        (["load", "/nonexistent.tar"], "No such file"),
        (["import", "x", "/nonexistent.tar"], "No such file"),
        (["import", "Bad_", "/etc/passwd"], "is not a name"),
        (["load", "/etc/passwd"], "not a tar"),
        (["save", "busybox", "--format", "oci-layout"], "an OCI layout is a directory"),
        (["save", "busybox", "--output", "/nonexistent/x"], "No such file"),
    ],
)
def test_mistakes_are_told_in_words(image_only: Engine, arguments: list[str], message: str) -> None:
    said = image_only.run("image", *arguments)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert "Traceback" not in said.err
    assert "fault of trimtab" not in said.err


def test_an_image_is_pushed_compressed_once_and_copied(engine: Engine, rootfs_tar: Path, own_registry: str) -> None:
    engine.ok("image", "import", "tiny", str(rootfs_tar))
    said = engine.ok("image", "push", "tiny", f"{own_registry}/team/tiny:1", "-q").out
    reference, _, digest = said.strip().rpartition("@")
    assert reference == f"{own_registry}/team/tiny:1"
    assert engine.ok("image", "push", "tiny", f"{own_registry}/team/tiny:1", "-q").out == said
    engine.ok("image", "copy", f"{own_registry}/team/tiny:1", f"{own_registry}/team/copy:2", "-q")
    pulled = engine.ok("image", "pull", f"{own_registry}/team/copy:2", "-q").out.strip()
    (facts,) = json.loads(engine.ok("image", "inspect", pulled).out)
    assert facts["digest"] == digest
    assert [layer["media_type"].rpartition("+")[2] for layer in facts["layers"]] == ["gzip"]


def test_what_cannot_be_pushed_is_told(engine: Engine, rootfs_tar: Path) -> None:
    engine.ok("image", "import", "tiny", str(rootfs_tar))
    for arguments, words in (
        (("push", "absent", "127.0.0.1:1/a:1"), "there is no image 'absent'"),
        (("push", "tiny", f"127.0.0.1:1/a@sha256:{'0' * 64}"), "names a digest"),
        (("push", "tiny", "127.0.0.1:1/a:1"), "127.0.0.1:1"),
        (("copy", "::", "127.0.0.1:1/a:1"), "read reference"),
    ):
        said = engine.run("image", *arguments)
        assert said.code in (1, 2) and words in said.err, said


def test_a_password_comes_by_standard_input(engine: Engine, tmp_path: Path) -> None:
    engine.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    with docker_registry(tmp_path / "locked", auth=True) as locked:
        engine.layout.root.mkdir(exist_ok=True)
        (engine.layout.root / "registries.yaml").write_text(f"registries:\n  {locked.host}: {{insecure: true}}\n")
        refused = engine.run("image", "login", locked.host, "-u", "alice", "--password-stdin", stdin=b"wrong\n")
        assert refused.code == 2 and "wrong" not in refused.err
        said = engine.run("image", "login", locked.host, "-u", "alice", "--password-stdin", stdin=b"wonderland\n")
        assert (said.code, said.out) == (0, f"{locked.host} accepts alice.\n")
        assert engine.ok("image", "logout", locked.host).out == f"{locked.host}: forgotten.\n"
    assert engine.run("image", "login", "x.invalid").code == 2
