"""What `make run` shows, word by word: the plan, the actions, both replicas' answers, and that nothing is left to do.

The very script, in a directory of its own: an engine of the test's own stands in for the machine's.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.engine import Engine, making_engine, plain_environment
from tests.conftest import SLOWER

CODE = Path(__file__).resolve().parents[2]


def shown(engine: Engine) -> list[str]:
    """The lines of one run. In a file: what a command starts outlives it, and would hold a pipe open."""
    file = engine.base / "shown"
    with file.open("wb") as output:
        subprocess.run(
            [engine.base / ".ci/quickstart"],
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=100 * SLOWER,
            check=False,
        )
    return file.read_text().splitlines()


@pytest.mark.kernel
def test_the_main_job_is_shown_and_done_once(busybox_tree: Path) -> None:
    with making_engine() as engine:
        for name in (".ci/quickstart", ".ci/busybox-rootfs"):
            (engine.base / ".ci").mkdir(exist_ok=True)
            shutil.copy2(CODE / name, engine.base / name)
        shutil.copytree(CODE / "manifests/quickstart", engine.base / "manifests/quickstart")
        shutil.copytree(busybox_tree, engine.base / ".cache/quickstart/rootfs", symlinks=True)
        programs = engine.base / ".venv/bin"
        programs.mkdir(parents=True)
        for name, command in {"trimtab": engine.command(), "python": engine.command()[:1]}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            (programs / name).chmod(0o755)
        first, second = shown(engine), shown(engine)
        for lines in (first, second):
            assert {line.partition(":")[0] for line in lines} >= {"web-1", "web-2"}, lines
            assert lines[-1] == "No difference: 7 objects are as declared.", lines
        # in the first the container that writes it may have just begun
        assert second.count("web-1: written once by writer, kept in a volume") == 2, second
        assert any(line.startswith("+ Service/web") for line in first), first
        assert any(line.startswith("Applied: ") for line in first), first
        assert "Nothing to do: 7 objects are as declared." in second, second
        engine.ok("delete", str(engine.base / "manifests/quickstart"))
        assert engine.ok("get", "-o", "name").lines == ["Volume/pages"]  # its files are kept
