"""Debian's sshd(8) on loopback, its keys, settings, /run and list of users its own: the host's are not touched."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import SLOWER, missing

UNPACKED = Path(__file__).resolve().parents[2] / ".cache/sshd"
PORT = 2222
SETTINGS = """
ListenAddress 127.0.0.1:{port}
HostKey {base}/host
AuthorizedKeysFile {base}/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
PrintMotd no
SetEnv PATH={base}/bin:/usr/bin:/bin
"""
CLIENT = """
Host *
  IdentityFile {base}/key
  IdentitiesOnly yes
  UserKnownHostsFile {base}/known
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 10
"""
# a tmpfs over /run holds the directory that sshd locks itself in; its user is added to a copy of the list
START = """
set -e
mount -t tmpfs -o mode=755 run /run
mkdir /run/sshd
{{ grep -v '^sshd:' /etc/passwd; echo 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin'; }} >{base}/passwd
mount --bind {base}/passwd /etc/passwd
[ ! -d {unpacked}/usr/lib/openssh ] || mount --bind {unpacked}/usr/lib/openssh /usr/lib/openssh
exec {program} -D -e -f {base}/sshd_config
"""


@dataclass
class Server:
    base: Path
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> Path:
        """What to call for ssh(1): it knows the server's key and has one that is let in, and asks nobody."""
        return self.base / "ssh"

    def sessions(self) -> list[int]:
        """The processes that serve connections: newer servers have some for each."""
        found = children_of(self.process.pid)
        for pid in found:
            found += children_of(pid)
        return found

    def install(self, program: str) -> None:
        """Let `trimtab` be this shell text there."""
        place = self.base / "bin/trimtab"
        place.write_text(f"#!/bin/sh\n{program}\n")
        place.chmod(0o755)


def children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def serving(base: Path) -> Iterator[Server]:
    """In the caller's network namespace."""
    unpacked = (UNPACKED / "usr/sbin/sshd").exists()
    program = str(UNPACKED / "usr/sbin/sshd") if unpacked else shutil.which("sshd", path="/usr/sbin:/sbin")
    if program is None:
        missing("sshd (Debian package openssh-server)")
        raise AssertionError
    (base / "bin").mkdir(parents=True)
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / name], check=True)
    (base / "sshd_config").write_text(SETTINGS.format(base=base, port=PORT))
    (base / "client_config").write_text(CLIENT.format(base=base))
    trust(base, base / "host.pub")
    (base / "ssh").write_text(f'#!/bin/sh\nexec ssh -F {base}/client_config "$@"\n')
    (base / "ssh").chmod(0o755)
    script = START.format(base=base, unpacked=UNPACKED, program=shlex.quote(program))
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    libraries = ":".join(str(path) for path in UNPACKED.glob("usr/lib/*-linux-gnu"))
    with (base / "sshd.log").open("wb") as log:
        environment = {**os.environ, **({"LD_LIBRARY_PATH": libraries} if unpacked else {})}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    server = Server(base, process)
    try:
        wait_for_port(server)
        yield server
    finally:
        for pid in (*server.sessions(), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        process.wait(20)


def trust(base: Path, key: Path) -> None:
    """Have the client know `key` as the server's, and no other."""
    (base / "known").write_text(f"[127.0.0.1]:{PORT} {' '.join(key.read_text().split()[:2])}\n")


def wait_for_port(server: Server) -> None:
    deadline = time.monotonic() + 20 * SLOWER
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 5):
            return
        log = (server.base / "sshd.log").read_text()
        assert server.process.poll() is None and time.monotonic() < deadline, log
        time.sleep(0.02)
