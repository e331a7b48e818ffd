"""Probes of network links: each kind made by rtnetlink(7) in a network namespace that ends with its thread."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from functools import partial
from pathlib import Path

from runtime.kernel import namespaces

RTM_NEWLINK = 16
REQUEST_CREATE = 0x1 | 0x4 | 0x200 | 0x400  # request, acknowledge, exclusive, create
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND = 3, 18, 1
HEADER = struct.Struct("=IHHII")
LINK = struct.Struct("=BxHiII")


def link_kind(kind: str, _: Path) -> str:
    """Raises OSError(EOPNOTSUPP) for a kind of link this kernel does not know."""
    result = _in_new_network(partial(_make_link, kind))
    # a known kind may refuse a link without a parent or options: that it does so tells that it is known
    if result == errno.EOPNOTSUPP:
        raise OSError(errno.EOPNOTSUPP, f"the kernel knows no links of kind {kind}")
    if result in (errno.EPERM, errno.EACCES):
        raise OSError(result, os.strerror(result))
    return ""


def _in_new_network(function: partial[int]) -> int:
    """The function's errno, called in a thread of its own network namespace."""
    results: list[int] = []

    def run() -> None:
        try:
            namespaces.unshare(namespaces.CLONE_NEWNET)
            results.append(function())
        except OSError as error:
            results.append(error.errno or errno.EIO)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


def _make_link(kind: str) -> int:
    """The errno with which the kernel answers, 0 for success."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as channel:
        channel.settimeout(2)
        channel.send(request(kind))
        answer = channel.recv(8192)
    (code,) = struct.unpack_from("=i", answer, HEADER.size)
    return -int(code)


def request(kind: str) -> bytes:
    """RTM_NEWLINK for a link named `probe`."""
    info = _attribute(IFLA_INFO_KIND, kind.encode())
    body = LINK.pack(0, 0, 0, 0, 0) + _attribute(IFLA_IFNAME, b"probe\0") + _attribute(IFLA_LINKINFO, info)
    return HEADER.pack(HEADER.size + len(body), RTM_NEWLINK, REQUEST_CREATE, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), kind) + value
    return data + bytes(-len(data) % 4)


def bridge_netfilter(_: Path) -> str:
    """Whether packets between two ports of a bridge can pass the firewall. Raises FileNotFoundError."""
    if Path("/proc/sys/net/bridge").exists():
        return "on"
    release = os.uname().release
    listed = Path(f"/lib/modules/{release}/modules.dep")
    if listed.exists() and "/br_netfilter.ko" in listed.read_text():
        return "a module that is not loaded yet"
    raise FileNotFoundError(errno.ENOENT, "neither built in nor a module of this kernel")
