"""An NFS server on loopback, of version 4 alone: the kernel's nfsd of the virtual machine, and rpc.mountd.

A network namespace has one nfsd, and only that of the first one starts without a grace period of ten seconds: so this
runs where nobody else serves. Its files stand in a mount namespace of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import EMULATED, SLOWER, missing

_STAGE = """
set -e
mount -t tmpfs none /var/lib/nfs
mkdir /var/lib/nfs/v4recovery
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
mount -t nfsd none /proc/fs/nfsd
exportfs -i -o rw,insecure,no_subtree_check,no_root_squash,fsid=0 "127.0.0.1:$1"
echo ready
read -r line
"""
_SERVE = """
set -ex
for attempt in 1 2 3; do
    rpc.nfsd --debug --no-nfs-version 3 --no-udp --host 127.0.0.1 --lease-time 10 --grace-time 10 2 && break
    sleep 1
done
echo Y >/proc/fs/nfsd/v4_end_grace
"""


class NfsServer:
    def __init__(self, stage: subprocess.Popen[str]) -> None:
        self._stage = stage

    def start(self) -> None:
        self._run(_SERVE)

    def stop(self) -> None:
        """Connections are refused from now on."""
        self._run("rpc.nfsd 0")

    def _run(self, script: str) -> None:
        subprocess.run([*self._inside(), "sh", "-c", script], check=True, timeout=30 * SLOWER)

    def _inside(self) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self._stage.pid}/ns/mnt"]

    def mountd(self) -> subprocess.Popen[bytes]:
        """Who tells the kernel what is exported to whom."""
        return subprocess.Popen(
            [*self._inside(), "rpc.mountd", "--foreground", "--no-nfs-version", "2", "--no-nfs-version", "3"]
        )


@contextmanager
def nfs_server(exported: Path) -> Iterator[NfsServer]:
    """`127.0.0.1:/` is `exported`, also for root. After `require_nfs`."""
    command = ["unshare", "--mount", "sh", "-c", _STAGE, "sh", str(exported)]
    stage = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with stage:
        assert stage.stdout is not None
        assert stage.stdout.readline() == "ready\n", "the server's files could not be set up"
        made = NfsServer(stage)
        mountd = made.mountd()
        try:
            made.start()
            yield made
        finally:
            made.stop()
            mountd.terminate()
            mountd.wait(timeout=20 * SLOWER)


def require_nfs() -> None:
    """Skips, naming what is missing, where the machine cannot serve or mount NFS."""
    if not EMULATED:
        pytest.skip("about a machine whose NFS server nobody uses: runs in the virtual machine")
    for program in ("rpc.nfsd", "rpc.mountd", "exportfs"):
        if shutil.which(program, path="/usr/sbin:/sbin") is None:
            missing(f"{program} (Debian package nfs-kernel-server)")
    known = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    if not {"nfs4", "nfsd"} <= known:
        missing("the kernel's NFS client and server (modules nfsv4 and nfsd)")
