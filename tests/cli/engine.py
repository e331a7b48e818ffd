"""An engine of a test's own, driven as people drive it: `trimtab` in a process, its output in files.

In files, since the launcher and the DNS server that a command starts outlive it, and would hold a pipe open.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from runtime.kernel import cgroup
from runtime.kernel.namespaces import CLONE_NEWNET, setns, unshare
from runtime.layout import Layout
from runtime.network.dns.process import stop_dns
from runtime.process import client
from tests.conftest import SLOWER, cgroup_directories, remove_tree, unmount_below

CODE = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-c", "from reconciler.cli.entry import main; main()"]
SECONDS = 60 * SLOWER


@dataclass(frozen=True, slots=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Engine:
    base: Path
    layout: Layout
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [*PROGRAM, "--root", str(self.layout.root), "--run", str(self.layout.run), *arguments]

    def start(self, *arguments: str, stdin: int | IO[bytes] = subprocess.DEVNULL) -> Running:
        out, err = (tempfile.TemporaryFile(dir=self.base) for _ in range(2))  # noqa: SIM115 - closed by `Running.wait`
        environment = plain_environment() | self.environment
        process = subprocess.Popen(
            self.command(*arguments), stdin=stdin, stdout=out, stderr=err, cwd=self.base, env=environment
        )
        return Running(process, out, err)

    def run(self, *arguments: str, stdin: bytes | None = None) -> Said:
        """The answer, whatever it is."""
        if stdin is None:
            return self.start(*arguments).wait()
        with tempfile.TemporaryFile(dir=self.base) as given:
            given.write(stdin)
            given.seek(0)
            return self.start(*arguments, stdin=given).wait()

    def ok(self, *arguments: str) -> Said:
        """The answer of a command that must go well."""
        said = self.run(*arguments)
        assert said.code == 0, f"{arguments}: {said}"
        return said

    def write(self, name: str, text: str) -> str:
        """A manifest beside the engine; its path."""
        path = self.base / name
        path.write_text(text)
        return str(path)

    def close(self) -> None:
        """End and remove everything that the engine made."""
        for directory in (self.layout.run / "containers").glob("*"):
            with contextlib.suppress(Exception):
                client.delete(self.layout, directory.name, force=True)
        client.stop_launcher(self.layout)
        stop_dns(self.layout)
        # monitors that are just leaving still stand in the launcher's cgroup: this waits for them
        for name in (*(path.name for path in (self.layout.root / "containers").glob("*")), client.LAUNCHER_CGROUP):
            with contextlib.suppress(OSError):
                cgroup.remove(self.layout.cgroup(name))
        unmount_below(self.base)
        remove_tree(self.base)
        left = cgroup_directories(f"trimtab-{self.layout.engine_id}")
        assert left == [], f"cgroups are left: {left}"


@dataclass
class Running:
    """A command under way."""

    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]

    def wait(self, seconds: float = SECONDS) -> Said:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it does not end: {self._said(-1)}") from None
        said = self._said(code)
        self.out.close()
        self.err.close()
        return said

    def so_far(self) -> Said:
        return self._said(self.process.poll() or 0)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def _said(self, code: int) -> Said:
        return Said(code, _content(self.out), _content(self.err))


def _content(file: IO[bytes]) -> str:
    """Without moving the offset, which the writing process shares."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


def plain_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "PYTHONPYCACHEPREFIX")
    found: Mapping[str, str] = {name: os.environ[name] for name in kept if name in os.environ}
    return {**found, "PYTHONPATH": str(CODE), "TERM": "dumb", "COLUMNS": "100"}


@contextlib.contextmanager
def making_engine(own_network: bool = True) -> Iterator[Engine]:
    """An engine in a short path, its host's network a namespace of its own."""
    base = Path(tempfile.mkdtemp(prefix="ttc-", dir="/tmp"))
    engine = Engine(base, Layout(root=base / "root", run=base / "run"))
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if own_network:
        unshare(CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        yield engine
    finally:
        try:
            engine.close()
        finally:
            setns(home, CLONE_NEWNET)
            os.close(home)
