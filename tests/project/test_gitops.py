"""The page that teaches GitOps is followed word by word: its commands run here, and print what it says they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.engine import CODE, Engine, making_engine, plain_environment

pytestmark = pytest.mark.kernel

PAGE = Path("docs/gitops.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = "/srv/gitops"
SECONDS = 60
VARYING = re.compile(
    r"\b[0-9a-f]{7,40}\b"  # commits
    r"|\b\d+(ms|s|m|h)(\d+s)?\b"  # ages and times
    r"|\d{4}-\d\d-\d\dT[\d:.]+Z"
    r"|\b\d+\.\d+\.\d+\.\d+(/\d+)?"
    r"|\b\d{3,}\b"  # process ids, bytes
)


@dataclass(frozen=True, slots=True)
class Part:
    """Commands of the page, and what the page says that they print; None where it says nothing."""

    commands: str
    prints: str | None


def parts_of(section: str) -> list[Part]:
    blocks = [(match[1], match[2]) for match in BLOCK.finditer(section)]
    return [
        Part(text, following[1] if following[0] == "text" else None)
        for (kind, text), following in zip(blocks, [*blocks[1:], ("", "")], strict=True)
        if kind == "sh"
    ]


def section() -> str:
    text = PAGE.read_text()
    begin = text.index("## In ten minutes")
    return text[begin : text.index("\n## ", begin + 1)]


def leveled(text: str) -> list[str]:
    """Its lines, without what is another each time, and without how columns are filled up."""
    return [re.sub(r" {2,}", "  ", VARYING.sub("…", line)).rstrip() for line in text.strip().splitlines()]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with making_engine() as made:
        yield made
        for pid in Path("/proc").glob("[0-9]*"):
            try:
                words = (pid / "cmdline").read_bytes()
            except OSError:
                continue
            if b"daemon" in words and str(made.base).encode() in words:
                os.kill(int(pid.name), signal.SIGTERM)


def test_the_page_is_followed_word_by_word(engine: Engine) -> None:
    programs = engine.base / "programs"
    programs.mkdir()
    layout = engine.layout
    trimtab = programs / "trimtab"
    trimtab.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from reconciler.cli.entry import main; main()" '
        f'--root {layout.root} --run {layout.run} "$@"\n'
    )
    trimtab.chmod(0o755)
    environment = plain_environment() | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(CODE),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "COLUMNS": "100",
    }
    found = parts_of(section())
    assert len(found) > 6
    directory = engine.base
    for part in found:
        script = f"set -eu\n{part.commands.replace(PLACE, str(engine.base))}\npwd >{engine.base}/.directory\n"
        said = run(script, directory, environment)
        if part.prints is not None:
            assert leveled(said.replace(str(engine.base), PLACE)) == leveled(part.prints), f"{part.commands}\n{said}"
        directory = Path((engine.base / ".directory").read_text().strip())


def run(script: str, directory: Path, environment: dict[str, str]) -> str:
    """What it prints, in a file: a daemon that it leaves behind would hold a pipe."""
    out = Path(environment["PATH"].split(":")[0]).parent / ".said"
    with out.open("wb") as file:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
    said = out.read_text()
    assert done.returncode == 0, f"{script}\n{said}"
    return said
