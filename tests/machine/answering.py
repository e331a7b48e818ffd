"""Containers that answer over HTTP and by name: to see that after whatever befell them all of it works again."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from runtime.kernel import cgroup
from runtime.kernel.process import open_process, send_signal, start_time, wait_end
from runtime.network.dns.process import read_dns
from runtime.network.observe import read_endpoints
from tests.conftest import SLOWER, cgroup_directories
from tests.machine.machine import Machine, until

PORT, BALANCED = 15432, 18080
NAMES = ("db", "web-1", "web-2")
SERVE = "hostname > /tmp/index.html; exec httpd -f -p 80 -h /tmp"
GET = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=2).read().decode())"
SHOP = f"""
---
apiVersion: trimtab/v1
kind: Network
metadata: {{name: front}}
spec: {{}}
---
apiVersion: trimtab/v1
kind: Volume
metadata: {{name: data}}
spec: {{}}
---
apiVersion: trimtab/v1
kind: Secret
metadata: {{name: password}}
spec: {{content: xyzzy}}
---
apiVersion: trimtab/v1
kind: Container
metadata: {{name: db}}
spec:
  image: busybox
  command: [httpd, -f, -p, "80", -h, /data]
  init: true
  volumes: ["data:/data"]
  networks: [front]
  ports: ["127.0.0.1:{PORT}:80"]
  secrets: [password]
  stop_grace_period: 0s
---
apiVersion: trimtab/v1
kind: Service
metadata: {{name: web}}
spec:
  image: busybox
  command: [sh, -c, "{SERVE}"]
  networks: [front]
  ports: ["127.0.0.1:{BALANCED}:80"]
  stop_grace_period: 0s
  deploy: {{replicas: 2}}
"""


def open_shop(machine: Machine) -> None:
    machine.converge(machine.image + SHOP)
    (machine.layout.volumes / "data/_data/index.html").write_text("precious\n")
    expect_answers(machine)


def expect_answers(machine: Machine) -> None:
    """Everything runs once, and answers by name, by published port, and over the Service's balanced address."""
    assert machine.containers() == sorted(NAMES)
    assert {Path(path).name.removesuffix(".container") for path in machine.cgroups()} == set(NAMES)
    until(lambda: len([line for line in machine.links() if line.startswith("ttv")]) == len(NAMES))
    for name in NAMES:
        assert machine.process(name).phase.value == "running"
    assert machine.inside("db", "/bin/cat", "/run/secrets/password") == "xyzzy"
    for name in ("web-1", "web-2"):
        until(lambda name=name: inside(machine, "db", name) == f"{name}\n")  # type: ignore[misc]
    until(lambda: inside(machine, "db", "web") in ("web-1\n", "web-2\n"))
    until(lambda: outside(PORT) == "precious\n")
    until(lambda: outside(BALANCED) in ("web-1\n", "web-2\n"))


def inside(machine: Machine, asking: str, name: str) -> str:
    """What the page of `name` says, looked up and asked for in a container; nothing where nobody answers yet.

    In two steps, the second with the host's own Python: a static busybox's wget cannot look anything up.
    """
    enter = ["nsenter", "-t", str(machine.process(asking).pid)]
    found = output(*enter, "-a", "/bin/nslookup", name).partition("Name:")[2]
    if "Address: " not in found:
        return ""
    address = found.partition("Address: ")[2].split()[0]
    return output(*enter, "-n", sys.executable, "-S", "-E", "-c", GET, f"http://{address}/")


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20 * SLOWER, check=False).stdout


def outside(port: int) -> str:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
        return str(answer.read().decode())
    return ""


def addresses(machine: Machine) -> dict[str, list[str]]:
    """By container, as its network namespace has them."""
    return {
        name: sorted(str(address) for each in read_endpoints(machine.process(name).pid) for address in each.addresses)
        for name in NAMES
    }


def kill(*pids: int) -> None:
    """End these by SIGKILL, at once, and wait until they are gone."""
    known = [(pid, start_time(pid)) for pid in pids]
    opened = [open_process(pid, started) for pid, started in known if started is not None]
    for pid, started in known:
        if started is not None:
            send_signal(pid, started, signal.SIGKILL)
    for descriptor in opened:
        if descriptor is not None:
            assert wait_end(descriptor, 10 * SLOWER)


def helpers(machine: Machine) -> list[int]:
    """The launcher, its zygote, pairs that wait, and all monitors: who lives in the launcher's cgroup."""
    return cgroup.processes(machine.layout.cgroup(".launcher"))


def dns(machine: Machine) -> int:
    pid = read_dns(machine.layout).pid
    assert pid is not None
    return pid


def power_off(machine: Machine) -> None:
    """What is left of an engine when its machine starts again: its root directory, and nothing else.

    Nobody gets to write anything down: helpers go before those they watch.
    """
    layout = machine.layout
    kill(*helpers(machine), dns(machine))
    kill(*(pid for name in machine.containers() for pid in cgroup.processes(layout.cgroup(name))))
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith((f"{layout.run}/", f"{layout.root}/"))), reverse=True):
        subprocess.run(["umount", "-l", point], check=True)
    subprocess.run(["rm", "-rf", "--one-file-system", layout.run], check=True)
    for top in cgroup_directories(f"trimtab-{layout.engine_id}"):
        for below in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            until(lambda below=below: removed(below))  # type: ignore[misc]
        until(lambda top=top: removed(top))  # type: ignore[misc]
    for line in machine.links():
        subprocess.run(["ip", "link", "delete", line.split()[0].partition("@")[0]], check=False, capture_output=True)
    until(lambda: machine.links() == [])
    subprocess.run(["nft", "delete", "table", "inet", layout.nft_table], check=True)


def removed(directory: Path) -> bool:
    """A process that was killed a moment ago may still be counted."""
    with contextlib.suppress(FileNotFoundError):
        try:
            directory.rmdir()
        except OSError:
            return False
    return True
