"""The page about images is followed word by word where it tells of the registry: its commands run here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.layout import Layout
from tests.cli.engine import CODE, plain_environment
from tests.conftest import SLOWER, missing

pytestmark = pytest.mark.kernel

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 60 * SLOWER
VARYING = re.compile(r"[0-9a-f]{64}|[0-9a-f]{16}…|127\.0\.0\.1:\d+|amd64|arm64")


def parts() -> Iterator[tuple[str, str]]:
    """Commands, and what the page says that they print."""
    page = Path("docs/images.md").read_text()
    begin = page.index("## A registry of its own")
    blocks = [(match[1], match[2]) for match in BLOCK.finditer(page[begin : page.index("\n## ", begin + 1)])]
    for (kind, text), following in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "sh":
            yield text, following[1] if following[0] == "text" else ""


def free_ports(count: int) -> list[str]:
    channels = [socket.socket() for _ in range(count)]
    for channel in channels:
        channel.bind(("127.0.0.1", 0))
    found = [str(channel.getsockname()[1]) for channel in channels]
    for channel in channels:
        channel.close()
    return found


def leveled(text: str) -> str:
    return VARYING.sub("…", text).strip()


def wait_for(port: str) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(port)), 1).close()
            return
        except OSError:
            assert time.monotonic() < end, port
            time.sleep(0.02)


@pytest.fixture
def place(layout: Layout) -> Iterator[Path]:
    """Where the page's commands run; what they leave running ends."""
    made = layout.root.parent / "place"
    made.mkdir()
    try:
        yield made
    finally:
        for file in made.glob("*.pid"):
            pid = int(file.read_text())
            words = Path(f"/proc/{pid}/cmdline")
            if words.exists() and str(layout.root).encode() in words.read_bytes():
                os.kill(pid, signal.SIGTERM)


def test_the_page_is_followed_word_by_word(layout: Layout, place: Path) -> None:
    if shutil.which("skopeo") is None:
        missing("skopeo")
    (place / "mirror").mkdir()
    program = place / "trimtab"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from reconciler.cli.entry import main; main()" '
        f'--root {layout.root} --run {layout.run} "$@"\n'
    )
    program.chmod(0o755)
    environment = plain_environment() | {
        "PATH": f"{place}:{os.environ['PATH']}",
        "PYTHONPATH": str(CODE),
        "DOCKER_CONFIG": str(place / "docker"),
        "HOME": str(place),
    }
    ports = dict(zip(("5000", "5001", "5443"), free_ports(3), strict=True))
    found = list(parts())
    assert len(found) > 5
    for commands, prints in found:
        script = commands.replace("/srv/registry", str(place)).replace("/var/lib/trimtab", str(layout.root))
        # the port that is taken where none is given may be somebody's
        script = script.replace("registry serve >", "registry serve --listen 127.0.0.1:5000 >")
        script = re.sub(r"127\.0\.0\.1:(\d+)", lambda match: f"127.0.0.1:{ports[match[1]]}", script)
        with (place / "said").open("w+") as said:
            done = subprocess.run(
                ["bash", "-c", f"set -eu\n{script}"],
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
            said.seek(0)
            output = said.read()
        logs = "".join(file.read_text() for file in place.glob("*.log"))
        assert done.returncode == 0, f"{script}\n{output}\n{logs}"
        assert leveled(output) == leveled(prints), f"{script}\n{output}"
        if "registry serve" in script:
            listened = re.findall(r"--listen 127\.0\.0\.1:(\d+)", script)
            # `kill` ends the one before, which may take a moment
            wait_for(listened[0])
