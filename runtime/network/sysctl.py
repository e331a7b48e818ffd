"""Per-interface settings below /proc/sys/net, of the network namespace of the calling thread.

/proc/sys/net shows each task its own namespace's values, so this follows `namespace.inside`. On the way of every
container's start, hence plain system calls.

One procfs keeps an entry for each namespace it was asked in, all under the same name: beside a thousand containers a
path is found in 0.3 ms and not in 5 us, by whoever asks. So containers' settings are asked for in a procfs of their own
that is gone when they are read and written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from runtime.kernel.mount import new_mount
from schemas.errors import Refused

_NET = "/proc/sys/net"
_KEY = re.compile(r"^[a-z][a-z0-9_]*$")
_INTERFACE = re.compile(r"^(?!\.{1,2}$)[^/\s]{1,15}$")
_LONGEST = 4096  # bytes


def read_setting(name: str, proc: int | None = None) -> str | None:
    """The value of `net.<name>` (slashes between the parts, since interface names may hold dots); None if absent.

    `proc`: the root of a procfs; without it the host's is asked.
    """
    try:
        descriptor = _open(name, os.O_RDONLY, proc)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, _LONGEST).decode().strip()
    finally:
        os.close(descriptor)


def ensure_setting(name: str, value: str, proc: int | None = None) -> None:
    """Write `net.<name>` unless it says so already. Raises OSError, FileNotFoundError where the kernel has none."""
    if read_setting(name, proc) == value:
        return
    descriptor = _open(name, os.O_WRONLY, proc)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _open(name: str, flags: int, proc: int | None) -> int:
    if proc is None:
        return os.open(f"{_NET}/{name}", flags | os.O_CLOEXEC)
    return os.open(f"sys/net/{name}", flags | os.O_CLOEXEC, dir_fd=proc)


@contextmanager
def own_proc() -> Iterator[int]:
    """The root of a new procfs, attached nowhere. Raises OSError."""
    root = new_mount("proc", {})
    try:
        yield root
    finally:
        os.close(root)


def ensure_interface_settings(interface: str, settings: Mapping[str, str], proc: int | None = None) -> None:
    """Write `net.<family>.conf.<interface>.<key>` for each `<family>.<key>`.

    A kernel without IPv6 has no IPv6 to disable. Raises OSError; Refused for what would be another file.
    """
    for name, value in settings.items():
        family, _, key = name.partition(".")
        if family not in ("ipv4", "ipv6") or not _KEY.match(key) or not _INTERFACE.match(interface):
            raise Refused(f"{name} is no setting of an interface", step="network", path=interface)
        try:
            ensure_setting(f"{family}/conf/{interface}/{key}", value, proc)
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
