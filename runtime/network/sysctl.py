"""Per-interface settings below /proc/sys/net, of the network namespace of the calling thread.

/proc/sys/net shows each task its own namespace's values, so this follows `namespace.inside`. On the way of every
container's start, hence plain system calls.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from schemas.errors import Refused

_NET = "/proc/sys/net"
_KEY = re.compile(r"^[a-z][a-z0-9_]*$")
_INTERFACE = re.compile(r"^(?!\.{1,2}$)[^/\s]{1,15}$")
_LONGEST = 4096  # bytes


def read_setting(name: str) -> str | None:
    """The value of `net.<name>` (slashes between the parts, since interface names may hold dots); None if absent."""
    try:
        descriptor = os.open(f"{_NET}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, _LONGEST).decode().strip()
    finally:
        os.close(descriptor)


def ensure_setting(name: str, value: str) -> None:
    """Write `net.<name>` unless it says so already. Raises OSError, FileNotFoundError where the kernel has none."""
    if read_setting(name) == value:
        return
    descriptor = os.open(f"{_NET}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def ensure_interface_settings(interface: str, settings: Mapping[str, str]) -> None:
    """Write `net.<family>.conf.<interface>.<key>` for each `<family>.<key>`.

    A kernel without IPv6 has no IPv6 to disable. Raises OSError; Refused for what would be another file.
    """
    for name, value in settings.items():
        family, _, key = name.partition(".")
        if family not in ("ipv4", "ipv6") or not _KEY.match(key) or not _INTERFACE.match(interface):
            raise Refused(f"{name} is no setting of an interface", step="network", path=interface)
        try:
            ensure_setting(f"{family}/conf/{interface}/{key}", value)
        except FileNotFoundError:
            if family != "ipv6" or os.path.exists(f"{_NET}/ipv6"):  # noqa: PTH110
                raise


def read_interface_settings(interface: str, names: Iterable[str]) -> dict[str, str]:
    """The present values of those of `names` (`<family>.<key>`) that the kernel has."""
    found = {}
    for name in names:
        family, _, key = name.partition(".")
        value = read_setting(f"{family}/conf/{interface}/{key}")
        if value is not None:
            found[name] = value
    return found
