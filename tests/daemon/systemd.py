"""systemd as process 1 of a machine of a test's own: namespaces for everything but the files, units of our own alone.

It sees the host's files and changes those of the test: its /run, /dev and /etc/systemd/system are its own, and what it
changes of the rest of /etc is written beside it. At boot it starts bare targets, and what `trimtab system install` has
enabled.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runtime.layout import Layout
from tests.cli.engine import CODE
from tests.conftest import SLOWER, cgroup_directories, missing

SYSTEMD = Path("/lib/systemd/systemd")
TARGETS = ("sysinit", "basic", "network-online", "local-fs", "shutdown", "umount", "final")
V1 = ("systemd.unified_cgroup_hierarchy=0", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
"""As on a kernel's command line: to newer releases v1 is a legacy that must be asked for."""
BOOT = """
set -eu
cgroups=$(awk '{ for (i = 1; $i != "-"; i++); sub(/^rw,?/, "", $(i + 3)) }
    $(i + 1) ~ /^cgroup2?$/ && $5 ~ "^/sys/fs/cgroup" { print $5, $(i + 1), $(i + 3) }' /proc/self/mountinfo)
mount -t proc proc /proc
mount -t sysfs sysfs /sys
[ -z "$V1" ] || mount -t tmpfs cgroup /sys/fs/cgroup
echo "$cgroups" | while read -r top type options; do
    mkdir -p "$top"
    if [ "$type" = cgroup ]; then mount -t cgroup -o "$options" cgroup "$top"; else mount -t cgroup2 cgroup2 "$top"; fi
done
mount -t tmpfs run /run
mount -t overlay -o "lowerdir=/etc,upperdir=$BASE/beside/upper,workdir=$BASE/beside/work" overlay /etc
mount --bind "$BASE/etc" /etc/systemd/system
mount -t tmpfs dev "$BASE/dev"
mknod -m 666 "$BASE/dev/null" c 1 3
mknod -m 666 "$BASE/dev/zero" c 1 5
mknod -m 666 "$BASE/dev/full" c 1 7
mknod -m 666 "$BASE/dev/random" c 1 8
mknod -m 666 "$BASE/dev/urandom" c 1 9
mknod -m 666 "$BASE/dev/tty" c 5 0
mkdir "$BASE/dev/pts" "$BASE/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$BASE/dev/pts"
ln -s pts/ptmx "$BASE/dev/ptmx"
touch "$BASE/dev/console"
mount --bind "$BASE/console" "$BASE/dev/console"
mount --move "$BASE/dev" /dev
ip link set lo up
exec "$SYSTEMD" --system --unit=multi-user.target --show-status=no --log-target=console $V1
"""


@dataclass
class Machine:
    base: Path
    layout: Layout
    group: str = field(default_factory=lambda: f"trimtab-systemd-{os.getpid()}")
    pid: int = 0
    """Of its systemd; 0 while it is off."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.base}/bin:{os.environ['PATH']}",
            "HOME": "/root",
            "TERM": "dumb",
            "COLUMNS": "100",
            "TRIMTAB_ROOT": str(self.layout.root),
            "SYSTEMD_UNIT_PATH": f"{self.base}/units:/etc/systemd/system",
            "SYSTEMD_GENERATOR_PATH": f"{self.base}/none",
            "container": "trimtab-test",
        }

    def boot(self) -> None:
        is_v1 = not Path("/sys/fs/cgroup/cgroup.procs").exists()
        enter = 'for file in $GROUPS; do echo $$ >"$file"; done; exec unshare --cgroup "$@"'
        # on v2 a cgroup with processes of its own hands no controllers on, and unshare(1) waits in it
        leave = 'for file in $INITS; do echo $$ >"$file"; done; exec "$@"'
        separate = ["sh", "-c", leave, "sh", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"]
        separate += ["--kill-child", "--net", "--uts", "--ipc", "sh", "-c", BOOT]
        made = self._make_groups()
        groups = " ".join(str(path / "cgroup.procs") for path in made)
        inits = " ".join(str(path / "init/cgroup.procs") for path in made if (path / "init").exists())
        settings = {"BASE": str(self.base), "SYSTEMD": str(SYSTEMD), "V1": " ".join(V1) if is_v1 else ""}
        with (self.base / "console").open("ab") as console:
            outer = subprocess.Popen(
                ["sh", "-c", enter, "sh", *separate],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=self.environment | settings | {"GROUPS": groups, "INITS": inits},
            )
        self._outer = outer
        self.until(lambda: self._find_pid(outer.pid), "systemd does not start")
        self.until(
            lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"), "no boot"
        )

    def _find_pid(self, outer: int) -> bool:
        with contextlib.suppress(OSError, ValueError):
            child = int(Path(f"/proc/{outer}/task/{outer}/children").read_text())
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                self.pid = child
        return self.pid != 0

    def power_off(self) -> None:
        """At once, as when the current fails: every process, mount and link of it is gone."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._outer.wait(20)
            self.pid = 0

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]
        return subprocess.run(
            [*enter, *command],
            capture_output=True,
            text=True,
            timeout=60 * SLOWER,
            check=False,
            cwd="/",
            env=self.environment,
        )

    def ok(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done}\n{self.told()}"
        return done.stdout

    def shown(self, name: str) -> str:
        """A property of the unit."""
        return self.ok("systemctl", "show", "--value", "--property", name, "trimtab.service").strip()

    def inside(self, container: str) -> list[int]:
        """The processes of a container, as the test sees them."""
        path = f"{self.group}/{self.layout.cgroup(container).lstrip('/')}"
        found: set[int] = set()
        for directory in cgroup_directories(path):
            with contextlib.suppress(OSError):  # it is just being removed
                found |= {int(word) for word in (directory / "cgroup.procs").read_text().split()}
        return sorted(found)

    def told(self) -> str:
        """The end of what systemd and the daemon have said."""
        files = (self.base / name for name in ("console", "log"))
        return "\n".join(file.read_text(errors="replace")[-4000:] for file in files if file.exists())

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 30 * SLOWER
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.told()}"
            time.sleep(0.05)

    def _make_groups(self) -> list[Path]:
        """A cgroup of its own in each hierarchy, whose root it will take it for."""
        top = Path("/sys/fs/cgroup")
        if (top / "cgroup.procs").exists():
            for controller in (top / "cgroup.controllers").read_text().split():
                with contextlib.suppress(OSError):
                    (top / "cgroup.subtree_control").write_text(f"+{controller}")
            hierarchies = [top]
        else:
            hierarchies = [path for path in top.iterdir() if (path / "cgroup.procs").exists() and not path.is_symlink()]
        for hierarchy in hierarchies:
            (hierarchy / self.group).mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                # v1 has a new cpuset empty
                if (hierarchy / name).exists() and hierarchy != top:
                    (hierarchy / self.group / name).write_text((hierarchy / name).read_text())
            if (hierarchy / "cgroup.controllers").exists():
                (hierarchy / self.group / "init").mkdir(exist_ok=True)
        return [hierarchy / self.group for hierarchy in hierarchies]

    def remove_groups(self) -> None:
        deadline = time.monotonic() + 20
        while left := cgroup_directories(self.group):
            assert time.monotonic() < deadline, left
            for group in left:
                for path, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        Path(path).rmdir()
            time.sleep(0.02)


@contextlib.contextmanager
def machine(base: Path) -> Iterator[Machine]:
    """Booted, with nothing to do yet; everything of it is gone afterwards."""
    if not SYSTEMD.exists() or shutil.which("systemctl") is None:
        missing("systemd")
    for name in ("etc", "units", "dev", "bin", "beside/upper", "beside/work"):
        (base / name).mkdir(parents=True)
    for name in TARGETS:
        (base / f"units/{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (base / "units/multi-user.target").write_text(
        "[Unit]\nDefaultDependencies=no\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"
    )
    # there is no journal
    (base / "units/service.d").mkdir()
    (base / "units/service.d/output.conf").write_text(f"[Service]\nStandardOutput=append:{base}/log\n")
    program = base / "bin/trimtab"
    code = "from reconciler.cli.entry import main; main()"
    program.write_text(f"#!/bin/sh\nPYTHONPATH={CODE} exec {sys.executable} -c '{code}' \"$@\"\n")
    program.chmod(0o755)
    made = Machine(base, Layout(root=base / "root"))
    try:
        made.boot()
        yield made
    finally:
        made.power_off()
        made.remove_groups()
