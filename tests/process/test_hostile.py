"""Images and processes that mean harm: what brought down other runtimes is tried here."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runtime.kernel.mountinfo import read_mountinfo
from runtime.process import client
from runtime.process.failure import ProcessFailed
from tests.process.bundles import in_host_users, specification
from tests.process.conftest import Box
from tests.process.test_exec import command, enter

pytestmark = pytest.mark.kernel


@pytest.mark.vm
def test_the_interpreter_of_an_init_cannot_be_written_through_its_proc_entry(box: Box) -> None:
    """CVE-2019-5736: a script whose interpreter is /proc/self/exe stays our interpreter, now inside the container."""
    box.write("one", in_host_users(specification("sleep", "600")))
    made = client.create(box.layout, "one")
    flags = os.statvfs(f"/proc/{made.pid}/exe").f_flag
    assert flags & os.ST_RDONLY
    # opened for appending, never written; the kernel refuses a running program before it looks at the mount
    with pytest.raises(OSError) as caught:
        os.close(os.open(f"/proc/{made.pid}/exe", os.O_WRONLY | os.O_APPEND))
    assert caught.value.errno in {errno.EROFS, errno.ETXTBSY}


@pytest.mark.parametrize("number", range(3, 24, 3))
def test_a_working_directory_in_our_descriptors_is_no_way_out(box: Box, number: int) -> None:
    """CVE-2024-21626: /proc/self/fd/N was a directory of the host's while the runtime still had it open."""
    box.write("one", specification("ls", "..", cwd=f"/proc/self/fd/{number}"))
    with pytest.raises(ProcessFailed) as caught:
        create_and_start(box)
    assert caught.value.step == "cwd"


def create_and_start(box: Box) -> None:
    client.create(box.layout, "one")
    client.start(box.layout, "one")


def test_the_same_by_exec(box: Box) -> None:
    box.begin("one", specification("sleep", "600"))
    for number in range(3, 24):
        with pytest.raises(ProcessFailed) as caught:
            enter(box, command("ls ..", cwd=f"/proc/self/fd/{number}"))
        assert caught.value.step == "cwd"


def test_the_same_by_a_symlink_of_the_image(box: Box) -> None:
    bundle = box.write("one", specification("pwd", cwd="/way/out"))
    (bundle / "upper/way").symlink_to("/proc/self/fd/7/..")
    with pytest.raises(ProcessFailed):
        client.create(box.layout, "one")


def test_a_proc_that_is_a_symlink_gets_its_covers_all_the_same(box: Box) -> None:
    spec = specification("sh", "-c", "ls -A /elsewhere | grep -c self; wc -c < /elsewhere/keys; wc -c < /proc/keys")
    bundle = box.write("one", spec)
    (bundle / "upper/elsewhere").mkdir()
    (bundle / "upper/proc").symlink_to("/elsewhere")
    record, text = box.run(spec)
    assert record.exit_code == 0
    counts = text.split()
    assert int(counts[0]) >= 1
    assert counts[1:] == ["0", "0"]


def _mounts(box: Box) -> list[str]:
    """Where something is mounted on the host, but for what other engines mount below their own roots meanwhile."""
    points = [entry.point for entry in read_mountinfo()]
    return [point for point in points if not point.startswith("/tmp/") or point.startswith(str(box.layout.root.parent))]


@pytest.mark.parametrize("link", ["/dev/null", "/proc/self/root", "../../../../etc"])
def test_mount_targets_that_are_links_of_the_image_stay_inside(box: Box, link: str) -> None:
    spec = specification("true")
    bundle = box.write("one", spec)
    (bundle / "upper/target").symlink_to(link)
    source = box.layout.root / "source"
    source.mkdir()
    spec["mounts"].append({"destination": "/target/x", "type": "bind", "source": str(source), "options": ["bind"]})
    before = _mounts(box)
    box.write("one", spec)
    try:
        client.create(box.layout, "one")
    except ProcessFailed as failure:
        assert failure.step in {"mount", "device"}
    assert _mounts(box) == before
    assert not Path("/etc/x").exists()


def test_a_reaping_init_shows_nothing_of_its_launcher(box: Box) -> None:
    script = (
        "for f in environ maps mem auxv; do head -c 1 /proc/1/$f 2>&1; echo; done;"
        "ls -l /proc/1/fd 2>&1 | grep -- '->';"
        "readlink /proc/1/exe || echo no; readlink /proc/1/root || echo no; readlink /proc/1/cwd || echo no"
    )
    for host in (False, True):
        spec = specification("sh", "-c", script)
        spec["annotations"]["trimtab/init"] = "true"
        _, text = box.run(in_host_users(spec) if host else spec, name=f"host{host}")
        assert [line for line in text.splitlines() if line and "denied" not in line] == ["no", "no", "no"], text


def test_nobody_inside_can_reach_the_sockets_outside(box: Box) -> None:
    text = box.shell("cat /proc/net/unix | wc -l; ls /run /tmp/tt-* 2>/dev/null | wc -l")
    assert text.split() == ["1", "0"]


@pytest.mark.vm
def test_devices_in_a_layer_stay_dead(box: Box) -> None:
    spec = specification(
        "sh", "-c", "head -c 1 /disk > /dev/null 2>&1 && echo open || echo shut; (: > /dev/null) && echo null"
    )
    bundle = box.write("one", spec)
    os.mknod(bundle / "upper/disk", 0o60666, os.makedev(*root_device()))
    assert box.run(spec)[1].split() == ["shut", "null"]


def root_device() -> tuple[int, int]:
    device = Path("/").stat().st_dev
    return os.major(device), os.minor(device)


def test_a_set_user_id_program_makes_root_of_the_container_only(box: Box) -> None:
    spec = specification("/suid", "-u", user={"uid": 1000, "gid": 1000}, capabilities={})
    spec["process"]["args"] = ["sh", "-c", "/suid -u; cat /proc/self/uid_map"]
    bundle = box.write("one", spec)
    import shutil

    target = bundle / "upper/suid"
    shutil.copy(box.tree / "bin/busybox", target)
    # busybox drops what it was given unless its name says id, so the bit alone is looked at
    target.chmod(0o4755)
    _, text = box.run(spec)
    assert text
