"""Mounts of a specification: what reaches the container, where, with which options, and what never leaves it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.process import client, overlay
from runtime.process.failure import ProcessFailed
from tests.conftest import missing
from tests.process.bundles import HOST_ID, in_host_users, specification
from tests.process.conftest import Box

pytestmark = pytest.mark.kernel


def bound(source: Path, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", *options]}


@pytest.fixture
def source(box: Box) -> Path:
    """A directory of the host's with a file in it, written by root."""
    made = box.layout.root / "source"
    made.mkdir()
    (made / "file").write_text("from the host\n")
    return made


@pytest.fixture
def nested(source: Path) -> Iterator[Path]:
    """The same with a tmpfs mounted below it."""
    (source / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source / "inner"], check=True)
    try:
        (source / "inner/deep").write_text("deep\n")
        yield source
    finally:
        subprocess.run(["umount", source / "inner"], check=True)


def run(box: Box, script: str, *mounts: dict[str, Any]) -> list[str]:
    spec = specification("sh", "-c", script)
    spec["mounts"].extend(mounts)
    record, text = box.run(spec)
    assert record.exit_code == 0, text
    return text.splitlines()


def test_a_directory_is_bound_where_nothing_was(box: Box, source: Path) -> None:
    assert run(box, "cat /a/b/c/file", bound(source, "/a/b/c")) == ["from the host"]


def test_a_file_is_bound_on_a_file(box: Box, source: Path) -> None:
    lines = run(
        box,
        "cat /etc/passwd /etc/new/name",
        bound(source / "file", "/etc/passwd"),
        bound(source / "file", "/etc/new/name"),
    )
    assert lines == ["from the host"] * 2


def test_a_read_only_bind_takes_nothing(box: Box, source: Path) -> None:
    lines = run(
        box,
        "touch /m/x 2>&1 || true; mount -o remount,bind,rw /m 2>&1 || true; touch /m/x 2>&1 || true",
        bound(source, "/m", "ro"),
    )
    assert len([line for line in lines if "Read-only" in line]) >= 1
    assert not (source / "x").exists()


@pytest.mark.vm
def test_with_id_mapping_root_inside_writes_as_root_on_disk(box: Box, source: Path) -> None:
    run(box, "touch /m/mapped; stat -c %u /m/file", bound(source, "/m", "idmap"))
    assert (source / "mapped").stat().st_uid == 0


@pytest.mark.vm
def test_without_id_mapping_the_hosts_files_are_strange(box: Box, source: Path) -> None:
    assert run(box, "stat -c %u /m/file; touch /m/x 2>/dev/null || echo no", bound(source, "/m")) == ["65534", "no"]
    source.chmod(0o777)
    run(box, "touch /m/x", bound(source, "/m"))
    assert (source / "x").stat().st_uid == HOST_ID


def test_a_mount_with_maps_of_its_own_gets_them(box: Box, source: Path) -> None:
    entry = bound(source, "/m")
    entry["uidMappings"] = entry["gidMappings"] = [{"containerID": 0, "hostID": HOST_ID + 7, "size": 1}]
    assert run(box, "stat -c %u:%g /m/file", entry) == ["7:7"]


def test_recursive_binds_bring_what_is_mounted_below(box: Box, nested: Path) -> None:
    script = "cat /r/inner/deep; ls /b/inner | wc -l"
    assert run(box, script, bound(nested, "/r", "rbind"), bound(nested, "/b")) == ["deep", "0"]


@pytest.mark.vm
def test_recursive_read_only_covers_what_is_mounted_below(box: Box, nested: Path) -> None:
    (nested / "inner").chmod(0o777)
    script = "touch /top/inner/x && echo top; touch /all/inner/x 2>&1 | grep -o Read-only"
    assert run(box, script, bound(nested, "/top", "rbind", "ro"), bound(nested, "/all", "rbind", "rro")) == [
        "top",
        "Read-only",
    ]


def test_options_reach_a_bind(box: Box, source: Path) -> None:
    entry = bound(source, "/m", "nosuid", "nodev", "noexec", "noatime")
    line = run(box, "grep ' /m ' /proc/self/mountinfo", entry)[0]
    assert {"nosuid", "nodev", "noexec", "noatime"} <= set(line.split()[5].split(","))


def test_a_target_behind_a_symlink_stays_inside(box: Box, source: Path) -> None:
    outside = box.layout.root / "outside"
    outside.mkdir()
    upper = box.write("one", specification("true")) / "upper"
    (upper / "escape").symlink_to(f"../../../../../../../../{outside}")
    spec = specification("sh", "-c", f"cat {outside}/here/file")
    spec["mounts"].append(bound(source, "/escape/here"))
    record, text = box.run(spec)
    assert (record.exit_code, text) == (0, "from the host\n")
    assert list(outside.iterdir()) == []


@pytest.mark.vm
def test_a_tmpfs_has_its_size_and_may_start_with_the_images_files(box: Box) -> None:
    tmpfs = {"destination": "/etc", "type": "tmpfs", "options": ["tmpcopyup", "size=1m", "mode=755", "nosuid"]}
    lines = run(box, "cat /etc/passwd | head -n 1; df -m /etc | tail -n 1 | awk '{print $2}'; stat -c %a /etc", tmpfs)
    assert lines == ["root:x:0:0:root:/root:/bin/sh", "1", "755"]


def test_a_read_only_tmpfs_can_hold_targets_of_later_mounts(box: Box, source: Path) -> None:
    tmpfs = {"destination": "/t", "type": "tmpfs", "options": ["ro"]}
    lines = run(box, "cat /t/in/file; touch /t/x 2>&1 | grep -o Read-only", tmpfs, bound(source, "/t/in"))
    assert lines == ["from the host", "Read-only"]


@pytest.mark.vm
def test_what_the_container_mounts_does_not_show_outside(box: Box, nested: Path) -> None:
    spec = in_host_users(specification("sh", "-c", "mount -t tmpfs tmpfs /m/inner && touch /m/inner/seen"))
    spec["mounts"].append(bound(nested, "/m", "rbind"))
    spec["process"]["capabilities"] = {kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "permitted", "effective")}
    del spec["linux"]["seccomp"]
    record, text = box.run(spec)
    assert record.exit_code == 0, text
    assert not (nested / "inner/seen").exists()


def test_a_missing_source_is_named(box: Box) -> None:
    spec = specification("true")
    spec["mounts"].append(bound(Path("/no/such/source"), "/m"))
    box.write("one", spec)
    with pytest.raises(ProcessFailed) as caught:
        client.create(box.layout, "one")
    assert (caught.value.step, caught.value.path, caught.value.errno) == ("mount source", "/no/such/source", 2)
    assert client.read_process(box.layout, "one") is None
    assert not box.layout.live("one").exists()


def test_a_wrong_option_is_named_with_the_kernels_words(box: Box) -> None:
    spec = specification("true")
    spec["mounts"].append({"destination": "/x", "type": "tmpfs", "options": ["size=lots"]})
    box.write("one", spec)
    with pytest.raises(ProcessFailed, match="size") as caught:
        client.create(box.layout, "one")
    assert (caught.value.step, caught.value.path) == ("mount tmpfs", "/x")


@pytest.mark.vm
def test_layers_are_seen_highest_first_and_never_written(box: Box) -> None:
    layers = [box.layout.root / name for name in ("high", "low")]
    for layer in layers:
        layer.mkdir()
        (layer / "who").write_text(f"{layer.name}\n")
        (layer / layer.name).write_text("")
    spec = specification("sh", "-c", "cat /who; ls / | grep -E '^(high|low)$'; echo new > /who; rm /low")
    box.write("one", spec)
    give_layers(box, spec, [*layers, box.tree])
    record, text = box.run(spec)
    assert (record.exit_code, text.split()) == (0, ["high", "high", "low"])
    assert (layers[0] / "who").read_text() == "high\n"
    assert (layers[1] / "low").exists()


def give_layers(box: Box, spec: dict[str, Any], layers: list[Path]) -> None:
    import json

    bundle = box.layout.container("one")
    rootfs = {"lower": [str(layer) for layer in layers], "upper": str(bundle / "upper"), "work": str(bundle / "work")}
    spec["annotations"] = {"trimtab/rootfs": json.dumps(rootfs)}


def test_a_hundred_layers_are_no_trouble(box: Box) -> None:
    layers = []
    for number in range(100):
        layer = box.layout.root / "layers" / f"{number:064x}"
        layer.mkdir(parents=True)
        (layer / f"file{number}").write_text("")
        layers.append(layer)
    spec = specification("sh", "-c", "ls / | grep -c file")
    give_layers(box, spec, [*layers, box.tree])
    assert box.run(spec)[1] == "100\n"


def test_a_missing_layer_is_named(box: Box) -> None:
    spec = specification("true")
    give_layers(box, spec, [Path("/no/such/layer")])
    box.write("one", spec)
    with pytest.raises(ProcessFailed) as caught:
        client.create(box.layout, "one")
    assert (caught.value.step, caught.value.path) == ("layer", "/no/such/layer")


def test_a_plain_directory_can_be_the_root(box: Box, tmp_path: Path) -> None:
    import shutil

    tree = tmp_path / "tree"
    shutil.copytree(box.tree, tree, symlinks=True)
    spec = in_host_users(specification("sh", "-c", "touch /made; ls / | grep -c bin"))
    bundle = box.write("one", spec)
    spec["root"]["path"] = str(tree)
    del spec["annotations"]["trimtab/rootfs"]
    (bundle / "config.json").write_text(__import__("json").dumps(spec))
    client.create(box.layout, "one")
    client.start(box.layout, "one")
    assert client.wait(box.layout, "one", 10).exit_code == 0
    assert (tree / "made").exists()


@pytest.mark.vm
@pytest.mark.parametrize("detached", [True, False])
def test_both_ways_of_mounting_an_overlay_give_the_same(
    box: Box, monkeypatch: pytest.MonkeyPatch, detached: bool
) -> None:
    import os

    if detached and not overlay.has_detached_layers():
        missing("overlay of detached layers (Linux 6.15)")
    monkeypatch.setattr(overlay, "has_detached_layers", lambda: detached)
    base = box.layout.root / "both"
    for name in ("low", "up", "work"):
        (base / name).mkdir(parents=True)
    (base / "low/file").write_text("text")
    before = Path("/proc/self/mountinfo").read_text()
    root = overlay.overlay_root([str(base / "low")], str(base / "up"), str(base / "work"), None)
    try:
        descriptor = os.open("file", os.O_RDWR, dir_fd=root)
        os.write(descriptor, b"TEXT")
        os.close(descriptor)
    finally:
        os.close(root)
    assert (base / "up/file").read_text() == "TEXT"
    assert (base / "low/file").read_text() == "text"
    assert Path("/proc/self/mountinfo").read_text() == before
