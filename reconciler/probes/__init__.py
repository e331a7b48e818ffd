"""Health checks as they are made: a command in the container, or a request over its network without one.

Each returns what it found and raises nothing for a container that is not well. Called in threads.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from reconciler.health import Check, Result, moment_of_start
from reconciler.probes.command import run_command
from reconciler.probes.grpc import ask_grpc
from reconciler.probes.http import ask_http
from reconciler.probes.tcp import connect
from runtime.kernel.process import age
from runtime.layout import Layout
from runtime.process.failure import ProcessFailed
from runtime.process.records import ProcessRecord
from schemas.errors import TrimtabError

OUTPUT_CHARACTERS = 4096
"""Docker's."""


def start_of(process: ProcessRecord) -> float:
    """When a process was started, by time.monotonic."""
    return moment_of_start(process.started_at, time.time(), age(process.start_time), time.monotonic())


def probe(layout: Layout, process: ProcessRecord, check: Check) -> Result:
    """Make the check once, within its timeout."""
    began = time.monotonic()
    try:
        ok, output = _probe(layout, process, check)
    except (OSError, ProcessFailed, TrimtabError, ValueError) as error:
        ok, output = False, str(error) or type(error).__name__
    return Result(ok, output[-OUTPUT_CHARACTERS:], began)


def _probe(layout: Layout, process: ProcessRecord, check: Check) -> tuple[bool, str]:
    if isinstance(check.words, Mapping):
        asked: Mapping[str, Any] = check.words
        match check.kind:
            case "http":
                return ask_http(process, asked, check.timeout)
            case "grpc":
                return ask_grpc(process, asked, check.timeout)
            case _:
                return connect(process, asked, check.timeout)
    return run_command(layout, process, check.kind, tuple(check.words), check.timeout)
