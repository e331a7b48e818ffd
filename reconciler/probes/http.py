"""A health check by an HTTP request: a status from 200 to 399 is healthy; redirections are not followed."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Any

from reconciler.probes.connection import open_connection
from runtime.process.records import ProcessRecord

READ_BYTES = 512
"""Of the body: something to show."""


def ask_http(process: ProcessRecord, asked: Mapping[str, Any], timeout: float) -> tuple[bool, str]:
    """Raises OSError, RetryLater, ValueError where there is no answer within `timeout` seconds."""
    port = int(asked["port"])
    opened = open_connection(process, port, timeout)
    host = asked.get("host") or "localhost"
    if asked.get("scheme") == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        opened = context.wrap_socket(opened, server_hostname=host)
    connection = http.client.HTTPConnection("localhost", port)
    connection.sock = opened
    try:
        headers = {"Host": host, "User-Agent": "trimtab", "Connection": "close", **(asked.get("headers") or {})}
        connection.request("GET", asked.get("path") or "/", headers=headers)
        answer = connection.getresponse()
        body = answer.read(READ_BYTES).decode(errors="replace")
        return 200 <= answer.status < 400, f"{answer.status} {answer.reason}: {body}".rstrip(": \n")
    except http.client.HTTPException as error:
        raise ValueError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()
