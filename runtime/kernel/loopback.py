"""The loopback device of the caller's network namespace: up, as every program expects it (netdevice(7))."""

from __future__ import annotations

import fcntl
import socket
import struct

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def bring_up_loopback() -> None:
    """Set IFF_UP on `lo`; the kernel gives it its addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(channel, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(channel, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
