"""Frames built by hand, for what a well-behaved stack would not send."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

from tests.network.world import Machine


def send_udp_frame(
    sender: Machine, interface: str, to_mac: str, source: str, destination: str, port: int, payload: bytes
) -> None:
    """One UDP datagram to `port`, with whatever addresses, out of the sender's interface."""
    with sender.within(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        own_mac = raw.getsockname()[4][:6]
        version = ip_address(destination).version
        head = bytes.fromhex(to_mac.replace(":", "")) + own_mac + struct.pack("!H", {4: 0x0800, 6: 0x86DD}[version])
        raw.send(head + (_ipv4 if version == 4 else _ipv6)(source, destination, port, payload))


def _ipv4(source: str, destination: str, port: int, payload: bytes) -> bytes:
    datagram = struct.pack("!HHHH", 4444, port, 8 + len(payload), 0) + payload  # no checksum: allowed in IPv4
    addresses = ip_address(source).packed + ip_address(destination).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + datagram


def _ipv6(source: str, destination: str, port: int, payload: bytes) -> bytes:
    addresses = ip_address(source).packed + ip_address(destination).packed
    length = 8 + len(payload)
    datagram = struct.pack("!HHHH", 4444, port, length, 0) + payload
    pseudo = addresses + struct.pack("!IHBB", length, 0, 0, socket.IPPROTO_UDP)
    checksum = _checksum(pseudo + datagram) or 0xFFFF
    datagram = datagram[:6] + struct.pack("!H", checksum) + datagram[8:]
    return struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_UDP, 64) + addresses + datagram


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def sctp_init(source_port: int, port: int) -> bytes:
    """The first packet of an SCTP association (RFC 9260, 3.3.2), for kernels that carry SCTP but do not speak it."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65535, 1, 1, 1)
    head = struct.pack("!HHI", source_port, port, 0)  # and the checksum behind it
    return head + struct.pack("<I", _crc32c(head + b"\0\0\0\0" + chunk)) + chunk


def _crc32c(data: bytes) -> int:
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF
