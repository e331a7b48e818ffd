"""A health check by a connection: one that is taken is healthy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.probes.connection import open_connection
from runtime.process.records import ProcessRecord


def connect(process: ProcessRecord, asked: Mapping[str, Any], timeout: float) -> tuple[bool, str]:
    """Raises OSError, RetryLater where it is not taken within `timeout` seconds."""
    with open_connection(process, int(asked["port"]), timeout):
        return True, f"port {asked['port']} is open"
