"""What every test may ask for: an engine of its own, a root file system, a registry; each leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.layout import Layout

REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"
"""A full run: a missing capability is a failure, not a skip."""
EMULATED = "QEMU TCG" in Path("/proc/cpuinfo").read_text()
SLOWER = 6.0 if EMULATED else 1.0
"""How many times longer to wait here for what must come: an emulated processor needs it."""


def missing(capability: str) -> None:
    """Skip, naming the missing capability; in a full run, fail."""
    if REQUIRE_ALL:
        pytest.fail(f"missing: {capability}")
    pytest.skip(f"missing: {capability}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if EMULATED:
        for item in items:
            limit = item.get_closest_marker("timeout")
            seconds = limit.args[0] if limit else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(seconds * SLOWER), append=False)
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.skip(reason="missing: root"))


@pytest.fixture
def layout() -> Iterator[Layout]:
    """An engine of the test's own, in a short path (socket names are limited to 108 bytes)."""
    base = Path(tempfile.mkdtemp(prefix="tt-", dir="/tmp"))
    made = Layout(root=base / "root", run=base / "run")
    made.root.mkdir()
    made.run.mkdir()
    try:
        yield made
    finally:
        unmount_below(base)
        remove_tree(base)


def remove_tree(base: Path) -> None:
    """As shutil.rmtree, also while a container's late farewell makes the firewall's lock in it once more."""
    for _ in range(100):
        try:
            shutil.rmtree(base)
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            time.sleep(0.02)
    shutil.rmtree(base)


def unmount_below(base: Path) -> None:
    """Detach every mount below `base`, deepest first, so that removing the tree touches nothing else."""
    points = [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{base}/")), reverse=True):
        subprocess.run(["umount", "-l", point], check=False)


def cgroup_directories(path: str) -> list[Path]:
    """The directory `path` below the root of each cgroup hierarchy: several with v1, at most one on v2."""
    top = Path("/sys/fs/cgroup")
    found = [mounted / path.lstrip("/") for mounted in (top, *top.iterdir())]
    return [directory for directory in found if directory.is_dir()]


@pytest.fixture(scope="session")
def busybox_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system made of Debian's static busybox, every applet linked. Not to be written to."""
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    if busybox is None:
        missing("busybox (Debian package busybox-static)")
        raise AssertionError
    tree = tmp_path_factory.mktemp("busybox") / "rootfs"
    for name in ("bin", "etc", "tmp", "root", "var", "home"):
        (tree / name).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    shutil.copy(busybox, tree / "bin/busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (tree / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    tree.chmod(0o755)
    return tree
