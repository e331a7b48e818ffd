"""What the cgroup tests share: a cgroup of the test's own, and children that wait until they are in it."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.kernel import cgroup

IS_V2 = cgroup.detect() is cgroup.Version.V2
ONLY_V1 = pytest.mark.skipif(IS_V2, reason="about machines whose controllers are v1's")
ONLY_V2 = pytest.mark.skipif(not IS_V2, reason="about cgroup v2: runs in the virtual machine")


@pytest.fixture
def path() -> Iterator[str]:
    """A cgroup's path that nobody else uses; whatever was made there is gone afterwards."""
    engine = f"/trimtab-test{secrets.token_hex(4)}"
    try:
        yield f"{engine}/box"
    finally:
        for name in (f"{engine}/box", f"{engine}/other"):
            cgroup.kill(name)
            cgroup.remove(name)
        cgroup.remove_if_empty(engine)
        assert leftovers(engine) == []


def leftovers(name: str) -> list[str]:
    """Directories of this cgroup in any hierarchy."""
    return [mount + name for mount in cgroup.hierarchies().mounts() if Path(mount + name).exists()]


@contextmanager
def running(path: str, *command: str) -> Iterator[subprocess.Popen[str]]:
    """The command, started in the cgroup: a shell waits for a line until it was moved, then becomes it."""
    shell = ["/bin/sh", "-c", 'read line; exec "$@" </dev/null', "sh", *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(shell, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            cgroup.add(path, child.pid)
            assert child.stdin
            child.stdin.write("\n")
            child.stdin.close()
            child.stdin = None
            yield child
        finally:
            cgroup.kill(path)
            child.kill()
            child.wait()
