"""A health check by a command in the container: CMD runs it, CMD-SHELL gives it to the image's shell."""

from __future__ import annotations

import json
from collections.abc import Sequence

from runtime.layout import Layout
from runtime.process.exec_check import check_by
from runtime.process.records import ProcessRecord

SHELL = ("/bin/sh", "-c")


def run_command(
    layout: Layout, process: ProcessRecord, kind: str, words: Sequence[str], timeout: float
) -> tuple[bool, str]:
    """Whether it ended with 0 within `timeout` seconds, and the end of what it wrote. Raises ProcessFailed, OSError,
    ValueError."""
    config = json.loads((layout.container(process.name) / "config.json").read_bytes())
    arguments = [*SHELL, *words] if kind == "CMD-SHELL" else list(words)
    made = {**config["process"], "args": arguments, "terminal": False}
    made.pop("consoleSize", None)
    code, output = check_by(layout, process.name, made, timeout)
    text = output.decode(errors="replace")
    if code is None:
        return False, f"{text}\nit took longer than {timeout:g} s".strip()
    return code == 0, text or f"exit code {code}"
