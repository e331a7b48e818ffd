"""What a container sees beside its image's files: volumes, host paths, tmpfs, images; and that no data is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine import open_engine
from reconciler.perform.mount_sources import unnamed_volume
from reconciler.prune import Pruning
from reconciler.reconcile import Asked, prepare
from reconciler.store.events import read_events
from runtime.kernel import quota
from runtime.volumes.volume import list_retained, volume_path
from schemas.errors import Invalid
from tests.machine.machine import Machine, told
from tests.machine.probe import attempt, container, document, own_machine, refusal, run

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def directory(busybox_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the manifests are, with an image of files to see and host paths to bind."""
    made = tmp_path_factory.mktemp("manifests")
    tree = made / "tree"
    shutil.copytree(busybox_tree, tree, symlinks=True)
    (tree / "srv/deep").mkdir(parents=True)
    (tree / "srv/page").write_text("from the image\n")
    (tree / "srv/deep/page").write_text("deep\n")
    os.chown(tree / "srv/page", 1000, 1000)
    (tree / "srv").chmod(0o750)
    (made / "host").mkdir()
    (made / "host/note").write_text("of the host\n")
    return made


@pytest.fixture(scope="module")
def machine(busybox_tree: Path, directory: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree) as made:
        made.file = str(directory / "shop.yaml")
        host, below = directory / "host", directory / "host/below"
        below.mkdir()
        subprocess.run(["mount", "--bind", "--make-shared", host, host], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", below], check=True)
        try:
            made.converge(manifests(made, directory))
            yield made
        finally:
            subprocess.run(["umount", "-l", host], check=True)


def files(directory: Path) -> str:
    config = {"cmd": ["sleep", "2147483647"], "env": {"PATH": "/bin"}}
    return document("Image", "files", rootfs=str(directory / "tree"), config=config) + document(
        "Image", "declaring", rootfs=str(directory / "tree"), config={**config, "volumes": ["/srv", "/var/cache"]}
    )


def volumes(directory: Path) -> str:
    return "".join(
        [
            document("Volume", "named"),
            document("Volume", "filled"),
            document("Volume", "parts"),
            document("Volume", "bound", driver_opts={"type": "none", "o": "bind", "device": str(directory / "host")}),
            document("Volume", "stacked", driver_opts={"type": "overlay", "device": "overlay", "o": stack(directory)}),
            document("Volume", "memory", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=2m,mode=0700"}),
        ]
    )


def stack(directory: Path) -> str:
    """Options of an overlay: a file system that cannot be id-mapped."""
    places = {name: directory / "stack" / name for name in ("lower", "upper", "work")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    return ",".join(f"{name}dir={place}" for name, place in places.items())


def bind(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": target, **more}


def manifests(machine: Machine, directory: Path) -> str:
    private, rslave = {"propagation": "private"}, {"propagation": "rslave"}
    made = [
        container("writer", volumes=["named:/data", "memory:/memory"]),
        container("reader", volumes=["named:/data:ro", bind("./host", "/host", read_only=True)]),
        container("filler", image="files", volumes=["filled:/srv"]),
        container("stacker", image="files", volumes=["stacked:/srv"]),
        container("unfilled", image="files", volumes=["named:/srv:nocopy"]),
        container("binder", volumes=["./host:/host", "./made/new:/new", bind("./host/note", "/etc/note")]),
        container("by-driver", volumes=["bound:/data"]),
        container("unnamed", image="files", volumes=["/srv"]),
        container("declared", image="declaring", volumes=["named:/var/cache"]),
        container("tmpfs", tmpfs=["/run", "/work:size=1m,mode=0750,uid=3,gid=4,exec", "/sealed:ro"]),
        container(
            "tmpfs-long", volumes=[{"type": "tmpfs", "target": "/work", "tmpfs": {"size": "3m", "mode": "0711"}}]
        ),
        container("slave", volumes=[bind("./host", "/host", bind=rslave)]),
        container("private", volumes=[bind("./host", "/host", bind=private)]),
        container("shared", userns_mode="host", volumes=[bind("./host", "/host", bind={"propagation": "rshared"})]),
        container("image-mount", volumes=[{"type": "image", "source": "files", "target": "/files"}]),
        container(
            "image-part",
            volumes=[{"type": "image", "source": "files", "target": "/part", "image": {"subpath": "srv/deep"}}],
        ),
        container("nested", image="files", volumes=["named:/srv/inner", "filled:/srv"]),
    ]
    return machine.image + files(directory) + volumes(directory) + "".join(made)


def test_a_named_volume_is_shared_and_read_only_where_it_is_said(machine: Machine) -> None:
    run(machine, "writer", "sh", "-c", "echo written > /data/note")
    assert run(machine, "reader", "cat", "/data/note") == "written\n"
    assert "Read-only" in attempt(machine, "reader", "touch", "/data/other")[1]
    assert (volume_path(machine.layout, "named") / "note").stat().st_uid == 0


def test_a_host_path_is_found_beside_the_manifest(machine: Machine, directory: Path) -> None:
    assert run(machine, "binder", "cat", "/host/note", "/etc/note") == "of the host\nof the host\n"
    run(machine, "binder", "sh", "-c", "echo back > /host/back")
    assert (directory / "host/back").read_text() == "back\n"
    assert (directory / "host/back").stat().st_uid == 0


def test_a_host_path_is_made_when_it_is_missing_unless_it_is_said(machine: Machine, directory: Path) -> None:
    assert (directory / "made/new").is_dir()
    missing = bind("./never", "/never", bind={"create_host_path": False})
    said = refusal(machine, machine.image + container("strict", volumes=[missing]))
    assert f"there is no {directory}/never; make it first" in said
    assert not (directory / "never").exists()


def test_read_only_reaches_the_mounts_below(machine: Machine) -> None:
    assert "Read-only" in attempt(machine, "reader", "touch", "/host/below/file")[1]
    assert attempt(machine, "private", "touch", "/host/file")[0] == 0


def test_a_volume_is_filled_from_the_image_at_its_first_use(machine: Machine) -> None:
    assert run(machine, "filler", "cat", "/srv/page", "/srv/deep/page") == "from the image\ndeep\n"
    assert run(machine, "filler", "stat", "-c", "%u %g", "/srv/page") == "1000 1000\n"
    assert run(machine, "filler", "stat", "-c", "%a", "/srv") == "750\n"


def test_a_volume_that_cannot_be_id_mapped_is_filled_with_the_containers_ids(machine: Machine) -> None:
    assert run(machine, "stacker", "stat", "-c", "%u %g", "/srv/page") == "1000 1000\n"
    assert attempt(machine, "stacker", "touch", "/srv/new") == (0, "")


def test_a_volume_is_not_filled_where_it_is_said(machine: Machine) -> None:
    assert "page" not in run(machine, "unfilled", "ls", "/srv")


def test_a_volume_of_driver_options_is_mounted(machine: Machine) -> None:
    assert run(machine, "by-driver", "cat", "/data/note") == "of the host\n"
    assert run(machine, "writer", "df", "-k", "/memory").splitlines()[1].split()[1] == "2048"
    assert attempt(machine, "writer", "touch", "/memory/file") == (0, "")


def test_a_mount_inside_another_is_seen(machine: Machine) -> None:
    assert run(machine, "nested", "cat", "/srv/page") == "from the image\n"
    run(machine, "writer", "touch", "/data/seen")
    assert "seen" in run(machine, "nested", "ls", "/srv/inner")


def test_tmpfs_is_mounted_as_asked(machine: Machine) -> None:
    assert run(machine, "tmpfs", "stat", "-c", "%a %u:%g", "/run", "/work") == "1777 0:0\n750 3:4\n"
    assert run(machine, "tmpfs", "df", "-k", "/work").splitlines()[1].split()[1] == "1024"
    run(machine, "tmpfs", "cp", "/bin/busybox", "/run/program")
    assert attempt(machine, "tmpfs", "/run/program", "true")[0] != 0
    run(machine, "tmpfs", "sh", "-c", "printf '#!/bin/sh\\nexit 5\\n' > /work/program; chmod +x /work/program")
    assert attempt(machine, "tmpfs", "/work/program")[0] == 5
    assert "Read-only" in attempt(machine, "tmpfs", "touch", "/sealed/file")[1]
    assert run(machine, "tmpfs-long", "stat", "-c", "%a", "/work") == "711\n"


def test_a_tmpfs_is_gone_with_its_container_and_a_volume_is_not(machine: Machine, directory: Path) -> None:
    run(machine, "tmpfs", "touch", "/run/mark")
    run(machine, "writer", "touch", "/data/mark")
    restarted = manifests(machine, directory).replace(
        '"name": "tmpfs"}, "spec": {', '"name": "tmpfs"}, "spec": {"hostname": "x", '
    )
    machine.converge(restarted)
    assert "mark" not in run(machine, "tmpfs", "ls", "/run")
    assert "mark" in run(machine, "writer", "ls", "/data")


def test_mounts_made_on_the_host_show_only_where_they_should(machine: Machine, directory: Path) -> None:
    point = directory / "host/later"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
    try:
        (point / "seen").touch()
        assert run(machine, "slave", "ls", "/host/later") == "seen\n"
        assert run(machine, "private", "ls", "/host/later") == ""
    finally:
        subprocess.run(["umount", point], check=True)


def test_mounts_made_inside_show_on_the_host_only_where_it_is_said(machine: Machine, directory: Path) -> None:
    (directory / "host/inside").mkdir()
    pid = str(machine.process("shared").pid)
    subprocess.run(["nsenter", "-t", pid, "-m", "/bin/mount", "-t", "tmpfs", "none", "/host/inside"], check=True)
    try:
        assert os.path.ismount(directory / "host/inside")
    finally:
        subprocess.run(["umount", directory / "host/inside"], check=True)


def test_propagation_to_the_host_is_refused_to_a_user_namespace_of_its_own(machine: Machine) -> None:
    with pytest.raises(Invalid) as refused:
        machine.diff(machine.image + container("wild", volumes=["/srv:/srv:rshared"]))
    assert "userns_mode: host" in str(refused.value)


def test_an_unnamed_volume_is_filled_and_survives_a_replacement(machine: Machine, directory: Path) -> None:
    for name in ("unnamed", "declared"):
        assert run(machine, name, "cat", "/srv/page") == "from the image\n"
        run(machine, name, "sh", "-c", "echo kept > /srv/kept")
    changed = manifests(machine, directory).replace(
        '"name": "unnamed"}, "spec": {', '"name": "unnamed"}, "spec": {"command": ["sleep", "2147483646"], '
    )
    changed = changed.replace(
        '"name": "declared"}, "spec": {', '"name": "declared"}, "spec": {"command": ["sleep", "2147483646"], '
    )
    before = machine.process("unnamed").pid, machine.process("declared").pid
    machine.converge(changed)
    assert before != (machine.process("unnamed").pid, machine.process("declared").pid)
    for name in ("unnamed", "declared"):
        assert run(machine, name, "cat", "/srv/kept") == "kept\n"


def test_a_path_the_manifest_mounts_itself_gets_no_unnamed_volume(machine: Machine) -> None:
    assert not volume_path(machine.layout, unnamed_volume("declared", "/var/cache")).exists()
    assert volume_path(machine.layout, unnamed_volume("declared", "/srv")).exists()


def test_another_image_is_mounted_read_only_with_its_owners(machine: Machine) -> None:
    assert run(machine, "image-mount", "cat", "/files/srv/page") == "from the image\n"
    assert run(machine, "image-mount", "stat", "-c", "%u", "/files/srv/page") == "1000\n"
    assert "Read-only" in attempt(machine, "image-mount", "touch", "/files/new")[1]
    assert run(machine, "image-part", "ls", "/part") == "page\n"


def test_a_part_of_an_image_that_is_not_there_is_refused(machine: Machine, directory: Path) -> None:
    part = {"type": "image", "source": "files", "target": "/part", "image": {"subpath": "no/such"}}
    said = refusal(machine, machine.image + files(directory) + container("partial", volumes=[part]))
    assert "Image/files has no directory no/such" in said


def test_a_part_of_a_volume_is_mounted_and_none_outside_it(machine: Machine, directory: Path) -> None:
    base = volume_path(machine.layout, "parts")
    (base / "sub").mkdir()
    (base / "sub/file").write_text("part\n")
    (base / "out").symlink_to("/etc")
    text = machine.image + document("Volume", "parts")

    def part(subpath: str) -> dict[str, Any]:
        return {"type": "volume", "source": "parts", "target": "/part", "volume": {"subpath": subpath, "nocopy": True}}

    machine.converge(text + container("inside", volumes=[part("sub")]))
    assert run(machine, "inside", "ls", "/part") == "file\n"
    assert "leads out of the volume" in refusal(machine, text + container("outside", volumes=[part("out")]))


def test_a_size_is_refused_with_the_reason_where_it_cannot_be_kept(machine: Machine) -> None:
    reason = quota.can_limit(machine.layout.volumes)
    text = machine.image + document("Volume", "sized", size="10m")
    if reason is None:
        machine.converge(text)
        return
    said = refusal(machine, text)
    assert "Volume/sized spec.size: its size cannot be limited" in said
    limited = document("Volume", "small", size="1m", driver_opts={"type": "tmpfs", "device": "tmpfs"})
    machine.converge(machine.image + limited + container("small", volumes=["small:/data"]))
    assert "No space left" in attempt(machine, "small", "dd", "if=/dev/zero", "of=/data/big", "bs=1k", "count=2000")[1]


PRUNE = Pruning(enabled=True, allow_empty=True)


def test_a_removed_volumes_files_stay_and_are_found_again(machine: Machine) -> None:
    text = document("Volume", "kept") + container("user", volumes=["kept:/data"])
    machine.converge(text, "keeping")
    run(machine, "user", "sh", "-c", "echo precious > /data/note")
    machine.delete("keeping")
    assert "kept" in list_retained(machine.layout)
    machine.converge(text, "keeping")
    assert run(machine, "user", "cat", "/data/note") == "precious\n"
    machine.delete("keeping")


def test_a_volume_is_deleted_where_its_policy_says_so(machine: Machine) -> None:
    text = document("Volume", "passing", deletion_policy="delete") + container("user", volumes=["passing:/data"])
    machine.converge(text, "passing")
    run(machine, "user", "touch", "/data/note")
    machine.delete("passing")
    assert not volume_path(machine.layout, "passing").exists()


def test_the_policy_can_be_changed_before_a_volume_goes(machine: Machine) -> None:
    machine.converge(document("Volume", "turned", deletion_policy="delete"), "turned")
    machine.converge(document("Volume", "turned"), "turned")
    machine.delete("turned")
    assert volume_path(machine.layout, "turned").exists()


def passing_on(machine: Machine, name: str) -> Path:
    """A file in a volume that the set `comp` has kept."""
    machine.converge(document("Volume", name), "comp")
    note = volume_path(machine.layout, name) / "note"
    note.write_text("precious\n")
    machine.delete("comp")
    return note


def test_kept_data_that_a_set_finds_again_is_told(machine: Machine) -> None:
    passing_on(machine, "again")
    plan = machine.diff(document("Volume", "again"), "comp")
    (line,) = told(plan)
    assert line.startswith("+ Volume/again create: finds data that was kept when set comp let it go (1 file, ")
    assert plan.notes == ()
    text = document("Volume", "again", deletion_policy="delete")
    machine.converge(text, "comp")
    with open_engine(machine.layout) as engine:
        assert prepare(engine, Asked((), "comp", "", {}, PRUNE)).plan.actions[0].reason.endswith(", with its data")
    machine.delete("comp")
    assert not volume_path(machine.layout, "again").exists()


def test_data_of_another_set_is_told_and_never_deleted_by_the_policy_of_the_next(machine: Machine) -> None:
    note = passing_on(machine, "inherited")
    text = document("Volume", "inherited", deletion_policy="delete")
    plan = machine.diff(text, "other")
    assert "finds data that was kept when set comp let it go" in plan.actions[0].reason
    (said,) = plan.notes
    assert said.text == "takes over data of set comp, which `deletion_policy: delete` will not delete"
    machine.converge(text, "other")
    with open_engine(machine.layout) as engine:
        events = read_events(engine.database, "Volume/inherited")
        going = prepare(engine, Asked((), "other", "", {}, PRUNE)).plan
    assert ("Warning", "DataOfOthers") in {(event.type, event.reason) for event in events}
    assert "with its data" not in going.actions[0].reason
    assert "set comp had it before; `trimtab volume rm inherited`" in going.notes[0].text
    machine.delete("other")
    assert note.read_text() == "precious\n" and "inherited" in list_retained(machine.layout)
    assert "when set comp and set other let it go" in machine.diff(text, "comp").actions[0].reason


def test_data_that_nobody_knows_is_not_deleted_by_a_policy(machine: Machine) -> None:
    note = volume_path(machine.layout, "stray") / "note"
    note.parent.mkdir(parents=True)
    note.write_text("precious\n")
    text = document("Volume", "stray", deletion_policy="delete")
    assert machine.diff(text, "other").notes[0].text.startswith("takes over data of somebody unknown")
    machine.converge(text, "other")
    machine.delete("other")
    assert note.read_text() == "precious\n"


def test_an_empty_kept_volume_belongs_to_who_takes_it(machine: Machine) -> None:
    passing_on(machine, "empty").unlink()
    text = document("Volume", "empty", deletion_policy="delete")
    assert told(machine.diff(text, "other")) == ["+ Volume/empty create: does not exist"]
    machine.converge(text, "other")
    machine.delete("other")
    assert not volume_path(machine.layout, "empty").exists()


def test_a_renamed_containers_volume_goes_over(machine: Machine) -> None:
    volume = document("Volume", "moving", deletion_policy="delete")
    machine.converge(volume + container("old", volumes=["moving:/data"]), "moving")
    run(machine, "old", "sh", "-c", "echo moved > /data/note")
    machine.converge(volume + container("new", volumes=["moving:/data"]), "moving", PRUNE)
    assert run(machine, "new", "cat", "/data/note") == "moved\n"
    machine.delete("moving")


def test_an_external_volume_is_used_and_never_removed(machine: Machine) -> None:
    machine.converge(document("Volume", "elsewhere", deletion_policy="delete"), "makers")
    text = document("Volume", "elsewhere", external=True) + container("guest", volumes=["elsewhere:/data"])
    machine.converge(text, "guests")
    run(machine, "guest", "touch", "/data/note")
    machine.delete("guests")
    assert (volume_path(machine.layout, "elsewhere") / "note").exists()
    machine.delete("makers")
    assert not volume_path(machine.layout, "elsewhere").exists()


def test_an_external_volume_that_is_not_there_is_refused(machine: Machine) -> None:
    said = refusal(machine, document("Volume", "nowhere", external=True), "guests")
    assert "Volume/nowhere spec.external: is external, and there is no Volume/nowhere" in said


def test_an_external_volume_may_be_one_that_was_kept(machine: Machine) -> None:
    machine.converge(document("Volume", "orphan"), "makers")
    machine.delete("makers")
    text = document("Volume", "orphan", external=True) + container("guest", volumes=["orphan:/data"])
    machine.converge(text, "guests")
    assert attempt(machine, "guest", "touch", "/data/note") == (0, "")
    machine.delete("guests")


def test_changed_driver_options_reach_what_uses_the_volume(machine: Machine) -> None:
    def text(size: str) -> str:
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={size}"}
        return document("Volume", "grown", driver_opts=options) + container("g", volumes=["grown:/data"])

    machine.converge(text("1m"), "grown")
    machine.converge(text("2m"), "grown")
    assert run(machine, "g", "df", "-k", "/data").splitlines()[1].split()[1] == "2048"
    machine.delete("grown")


def test_a_deleted_container_lets_go_of_its_unnamed_volumes_and_keeps_their_files(machine: Machine) -> None:
    machine.converge(container("brief", volumes=["/data"]), "brief")
    run(machine, "brief", "touch", "/data/note")
    machine.delete("brief")
    name = unnamed_volume("brief", "/data")
    assert name in list_retained(machine.layout)
    assert (volume_path(machine.layout, name) / "note").exists()
    assert told(machine.diff("", "brief")) == []
