"""EXPOSE's ports: `80`, `80/udp`, `8000-8010/tcp`; and, tolerated with a warning, `127.0.0.1:8080:80`.

Called when the instruction is read, if no variable stands in it, and again when they are known.

Source: Dockerfile reference, "EXPOSE".
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

PROTOCOLS = ("tcp", "udp", "sctp")
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class ExposedPorts:
    """`ports` as `80/tcp`, one for each of a range; what else was written, which only the checks look at."""

    ports: tuple[str, ...]
    protocol: str
    names_host: bool


def read_port(text: str) -> ExposedPorts:
    """Read one word of EXPOSE. Raises ValueError."""
    *host, port = text.rsplit(":", 2)
    numbers, _, protocol = port.partition("/")
    if protocol.lower() not in ("", *PROTOCOLS):
        raise ValueError(f"{protocol!r} is no protocol; write tcp, udp or sctp")
    first, last = _read_range(numbers, text)
    if host and host[-1]:
        _read_range(host[-1], text)
    if len(host) == 2 and host[0]:
        _require_address(host[0], text)
    ports = tuple(f"{number}/{protocol.lower() or 'tcp'}" for number in range(first, last + 1))
    return ExposedPorts(ports, protocol, any(host))


def _read_range(numbers: str, text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(numbers)
    first = int(match[1]) if match else 65536
    last = int(match[2] or first) if match else 0
    if not first <= last <= 65535:
        raise ValueError(f"{text!r} is no port; write one from 0 to 65535, as in 80, 53/udp or 8000-8010")
    return first, last


def _require_address(address: str, text: str) -> None:
    try:
        ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"{address!r} in {text!r} is no address; write the port alone, as in 80/tcp") from None
