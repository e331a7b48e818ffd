"""`trimtab diff --fs` and `trimtab image commit`: what a container changed of its image, and an image made of it."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine

pytestmark = pytest.mark.kernel

WORK = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: work}
spec:
  image: busybox
  command: [sleep, "1000000"]
  stop_grace_period: 0s
  network_mode: none
  tmpfs: [/scratch]
  volumes: ["data:/data", "data:/a/long/way"]
  secrets: [password]
---
apiVersion: trimtab/v1
kind: Secret
metadata: {name: password}
spec: {content: xyzzy}
---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: data}
"""
DEEDS = """
echo new > /etc/new
echo changed > /etc/passwd
rm -r /gone
rm -r /turned && mkdir /turned && echo kept > /turned/kept
mkdir -p /made/deep && chmod 1777 /made && echo x > /made/deep/file && ln /made/deep/file /made/twin
ln -s deep/file /made/link
chown 7:8 /made/deep/file
echo private > /scratch/private; echo data > /data/file
"""
CHANGES = [
    *("C /etc", "A /etc/new", "C /etc/passwd", "D /gone"),
    *("A /made", "A /made/deep", "A /made/deep/file", "A /made/link", "A /made/twin"),
    *("C /turned", "A /turned/kept", "D /turned/old"),
]


@pytest.fixture
def engine(busybox_tree: Path, tmp_path: Path) -> Iterator[Engine]:
    """One where the container `work` has changed what DEEDS says."""
    with making_engine() as made:
        tree = made.base / "tree"
        subprocess.run(["cp", "-a", busybox_tree, tree], check=True)
        (tree / "etc").mkdir(exist_ok=True)
        (tree / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
        for name in ("gone", "turned"):
            (tree / name).mkdir()
            (tree / name / "old").write_text("old\n")
        made.write("image.yaml", shop_manifest(tree).partition("---")[0])
        made.ok("apply", "--set", "base", "image.yaml")
        made.ok("apply", "--set", "work", made.write("work.yaml", WORK))
        yield made


def run_of(engine: Engine, image: str, *command: str) -> str:
    """What a container of the image prints."""
    words = json.dumps(command)
    engine.write(
        "try.yaml",
        "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: try}\n"
        f"spec: {{image: {image}, command: {words}, restart: 'no', network_mode: none}}\n",
    )
    engine.ok("apply", "--set", "try", "try.yaml")
    said = engine.ok("logs", "-f", "try").out
    engine.ok("delete", "--set", "try")
    return said


def test_a_container_that_changed_nothing_has_no_changes(engine: Engine) -> None:
    said = engine.run("diff", "--fs", "work")
    assert (said.code, said.out) == (0, "")
    engine.ok("exec", "work", "touch", "/a/long/stop")
    assert engine.run("diff", "--fs", "work").lines == ["A /a", "A /a/long", "A /a/long/stop"]


def test_changes_are_listed_as_docker_does(engine: Engine) -> None:
    engine.ok("exec", "work", "sh", "-ec", DEEDS)
    said = engine.run("diff", "--fs", "work")
    assert (said.code, said.lines) == (1, CHANGES)
    document = json.loads(engine.run("diff", "--fs", "container/work", "-o", "json").out)
    assert [f"{item['change']} {item['path']}" for item in document["changes"]] == CHANGES


def test_an_image_of_a_container_holds_its_changes_and_nothing_that_was_mounted(engine: Engine) -> None:
    engine.ok("exec", "work", "sh", "-ec", DEEDS)
    engine.ok("image", "commit", "work", "kept", "--author", "ann", "-m", "by hand", "-c", "ENV A=b", "-c", 'CMD ["x"]')
    seen = run_of(
        engine,
        "kept",
        "sh",
        "-c",
        "cat /etc/new /etc/passwd /turned/kept; ls /turned; ls -d /gone /scratch /data /a /run; "
        "stat -c '%a %u:%g %h' /made /made/deep/file; readlink /made/link; echo $$A",
    )
    assert seen.splitlines() == [
        *("new", "changed", "kept", "kept"),
        *("1777 0:0 3", "644 7:8 2", "deep/file", "b"),
    ]
    (facts,) = json.loads(engine.ok("image", "inspect", "kept").out)
    assert facts["config"]["Cmd"] == ["x"]


def test_a_commit_is_one_layer_more_and_one_line_of_history(engine: Engine) -> None:
    engine.ok("exec", "work", "sh", "-ec", DEEDS)
    engine.ok("image", "commit", "work", "kept", "-m", "by hand")
    archive = engine.base / "kept.tar"
    engine.ok("image", "save", "kept", "--output", str(archive), "--format", "oci-archive")
    with tarfile.open(archive) as opened:
        manifest = document(opened, document(opened, "index.json")["manifests"][0])
        config = document(opened, manifest["config"])
        with tarfile.open(fileobj=opened.extractfile(blob(manifest["layers"][1]))) as layer:
            names = set(layer.getnames())
    assert len(manifest["layers"]) == 2 == len(config["rootfs"]["diff_ids"])
    assert config["history"][-1]["comment"] == "by hand"
    assert {".wh.gone", "turned/.wh..wh..opq", "etc/new", "made/twin"} <= names
    assert not {"scratch/private", "data/file", "turned/.wh.old"} & names


def blob(descriptor: dict[str, str]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def document(archive: tarfile.TarFile, of: str | dict[str, str]) -> Any:
    content = archive.extractfile(of if isinstance(of, str) else blob(of))
    assert content is not None
    return json.loads(content.read())


def test_the_container_goes_on_after_it_was_held(engine: Engine) -> None:
    engine.ok("image", "commit", "work", "kept")
    assert engine.ok("exec", "work", "echo", "on").out == "on\n"


def test_what_cannot_be_committed_is_refused(engine: Engine) -> None:
    for arguments, words in (
        (("work", "busybox"), "Image/busybox is declared by the set base"),
        (("wark", "kept"), "there is no"),
        (("work", "kept", "-c", "RUN true"), "--change:2:1 RUN: cannot be a change of a commit"),
        (("work", "kept", "-c", "CDM x"), "--change:2:1"),
    ):
        said = engine.run("image", "commit", *arguments)
        assert said.code == 2 and words in said.err, said


def test_two_images_are_compared_file_by_file(engine: Engine) -> None:
    engine.ok("exec", "work", "sh", "-ec", DEEDS)
    engine.ok("image", "commit", "work", "kept")
    same = engine.run("image", "diff", "busybox", "busybox")
    assert (same.code, same.out) == (0, "")
    said = engine.run("image", "diff", "busybox", "kept")
    assert (said.code, said.lines) == (1, CHANGES)
    back = engine.run("image", "diff", "kept", "busybox")
    swapped = {"A": "D", "D": "A", "C": "C"}
    whole = [f"{swapped[line[0]]}{line[1:]}" for line in CHANGES]
    # what is gone is told by its top alone, what came with all that is in it
    assert set(back.lines) == {line for line in whole if not line.startswith("D /made/")} | {"A /gone/old"}


def test_history_tells_how_an_image_was_made(engine: Engine) -> None:
    engine.ok("exec", "work", "touch", "/new")
    engine.ok("image", "commit", "work", "kept", "-m", "a file more")
    lines = json.loads(engine.ok("image", "history", "kept", "-o", "json").out)["lines"]
    assert [line["comment"] for line in lines] == [None, "a file more"]
    assert engine.ok("image", "history", "kept").lines[1].endswith("trimtab commit a file more")


def test_a_tag_is_one_more_name_and_is_used_without_a_registry(engine: Engine) -> None:
    engine.ok("image", "tag", "busybox", "registry.invalid/team/tool:2")
    assert run_of(engine, "registry.invalid/team/tool:2", "echo", "ran") == "ran\n"
    engine.ok("image", "tag", "busybox", "registry.invalid/team/tool:3")
    engine.ok("image", "rm", "registry.invalid/team/tool:3")
    assert engine.ok("image", "ls", "-o", "name").lines == ["busybox"]
    said = engine.run("image", "tag", "busybox", f"x@sha256:{'0' * 64}")
    assert said.code == 2 and "names a digest" in said.err


def test_an_exported_container_is_its_image_with_what_it_changed_and_nothing_that_was_mounted(engine: Engine) -> None:
    engine.ok("exec", "work", "sh", "-ec", DEEDS)
    engine.ok("image", "export", "work", "--output", "work.tar")
    with tarfile.open(engine.base / "work.tar") as archive:
        members = {member.name.removeprefix("./"): member for member in archive}
        assert {"bin/busybox", "etc/new", "turned/kept", "data", "scratch"} <= members.keys()
        assert not {"gone", "gone/old", "turned/old", "data/file", "scratch/private"} & members.keys()
        assert archive.extractfile(members["etc/passwd"]).read() == b"changed\n"  # type: ignore[union-attr]
    assert members["made"].mode == 0o1777 and (members["made/link"].issym() and members["made/twin"].islnk())
    assert (members["made/deep/file"].uid, members["made/deep/file"].gid) == (7, 8)
    streamed = subprocess.run(
        engine.command("image", "export", "work"), capture_output=True, check=True, cwd=engine.base
    )
    assert streamed.stdout == (engine.base / "work.tar").read_bytes()
    engine.ok("image", "import", "again", "work.tar", "-e", "PATH=/bin")
    assert run_of(engine, "again", "cat", "/etc/new", "/turned/kept") == "new\nkept\n"


def test_a_container_that_is_not_there_is_not_exported(engine: Engine) -> None:
    said = engine.run("image", "export", "nobody", "--output", "nobody.tar")
    assert said.code == 2 and "nobody" in said.err
    assert not list(engine.base.glob("*nobody*"))
