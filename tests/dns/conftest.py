"""A network namespace of the test's own, a DNS server in it, clients at any address, and a resolver to forward to."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSHeader, DNSRecord

from runtime.kernel.namespaces import CLONE_NEWNET, open_namespace, setns, unshare
from runtime.layout import Layout
from runtime.network.dns.process import ensure_dns, stop_dns

FRONT, BACK = "127.1.0.1", "127.2.0.1"
"""Gateways of two networks. All of 127/8 is local, so any client address of either needs no link."""
UPSTREAM = "127.9.0.1"


@pytest.fixture
def netns() -> Iterator[None]:
    """The test's thread, and what it starts, in a fresh network namespace with `lo` up."""
    before = open_namespace("thread-self", "network")
    try:
        unshare(CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        setns(before, CLONE_NEWNET)
        os.close(before)


@pytest.fixture
def resolv_conf() -> Iterator[Path]:
    """A resolv.conf that the server may read although it is nobody."""
    directory = Path(tempfile.mkdtemp(prefix="tt-resolv-", dir="/tmp"))
    directory.chmod(0o755)
    path = directory / "resolv.conf"
    write_resolv_conf(path, UPSTREAM)
    try:
        yield path
    finally:
        shutil.rmtree(directory)


def write_resolv_conf(path: Path, *resolvers: str) -> None:
    """Replace the file as a network manager does: by a rename."""
    new = path.with_suffix(".new")
    new.write_text("".join(f"nameserver {each}\n" for each in resolvers))
    new.chmod(0o644)
    new.rename(path)


@pytest.fixture
def server(layout: Layout, netns: None, resolv_conf: Path) -> Iterator[Layout]:
    """An engine whose DNS server runs; nothing recorded yet."""
    ensure_dns(layout, resolv_conf)
    try:
        yield layout
    finally:
        stop_dns(layout)


def query(
    name: str,
    kind: str = "A",
    *,
    at: str = FRONT,
    client: str | None = None,
    tcp: bool = False,
    payload: int | None = None,
    timeout: float = 3.0,
) -> DNSRecord:
    """Ask the server at `at` from the address `client` (default: the gateway's own). Raises TimeoutError."""
    record = DNSRecord.question(name, kind)
    if payload is not None:
        record.add_ar(EDNS0(udp_len=payload))
    packet = bytes(record.pack())
    reply = DNSRecord.parse((ask_tcp if tcp else ask_udp)(packet, at, client, timeout))
    assert reply.header.id == record.header.id
    return reply


def ask_udp(packet: bytes, at: str, client: str | None, timeout: float) -> bytes:
    """The reply to one datagram."""
    with socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((client or at, 0))
        link.settimeout(timeout)
        link.connect((at, 53))
        link.send(packet)
        return link.recv(65535)


def connect_tcp(at: str, client: str | None = None, timeout: float = 3.0) -> socket.socket:
    """A connection to the server from `client`."""
    link = socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET, socket.SOCK_STREAM)
    link.settimeout(timeout)
    try:
        link.bind((client or at, 0))
        link.connect((at, 53))
    except OSError:
        link.close()
        raise
    return link


def receive_message(link: socket.socket) -> bytes:
    """One length-prefixed message; empty when the other side hung up."""
    length = receive_exactly(link, 2)
    return receive_exactly(link, struct.unpack("!H", length)[0]) if length else b""


def receive_exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = link.recv(count - len(data))
        if not chunk:
            return b""
        data += chunk
    return data


def ask_tcp(packet: bytes, at: str, client: str | None, timeout: float) -> bytes:
    """The reply over one connection."""
    with connect_tcp(at, client, timeout) as link:
        link.sendall(struct.pack("!H", len(packet)) + packet)
        return receive_message(link)


def code_of(reply: DNSRecord) -> str:
    """`NOERROR`, `NXDOMAIN`, …"""
    return str(RCODE[reply.header.rcode])


def answers(reply: DNSRecord) -> list[str]:
    """The data of the answer section, in order."""
    return [str(record.rdata) for record in reply.rr]


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition comes true before the time is over."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Upstream:
    """A resolver of the test's own: answers by `behave(question, over tcp)`, remembers what it was asked."""

    def __init__(self, address: str, behave: Callable[[DNSRecord, bool], bytes | None]) -> None:
        self.asked: list[tuple[str, str, bool]] = []
        self.ports: set[int] = set()
        self._behave = behave
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, 53))
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tcp.bind((address, 53))
        self._tcp.listen()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._datagrams, self._streams)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._poke()
        self._tcp.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)
        for each in (self._udp, self._tcp):
            each.close()

    def _poke(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.sendto(b"", self._udp.getsockname())

    def _reply(self, packet: bytes, over_tcp: bool) -> bytes | None:
        question = DNSRecord.parse(packet)
        self.asked.append((str(question.q.qname).rstrip("."), QTYPE[question.q.qtype], over_tcp))
        return self._behave(question, over_tcp)

    def _datagrams(self) -> None:
        while True:
            packet, client = self._udp.recvfrom(4096)
            if not packet:
                return
            self.ports.add(client[1])
            reply = self._reply(packet, False)
            if reply is not None:
                self._udp.sendto(reply, client)

    def _streams(self) -> None:
        while True:
            try:
                link, _ = self._tcp.accept()
            except OSError:
                return
            with link:
                reply = self._reply(receive_message(link), True)
                if reply is not None:
                    link.sendall(struct.pack("!H", len(reply)) + reply)


@pytest.fixture
def upstream(netns: None) -> Iterator[Callable[..., Upstream]]:
    """Makes resolvers: `upstream(behave, address)`."""
    made: list[Upstream] = []

    def make(behave: Callable[[DNSRecord, bool], bytes | None], address: str = UPSTREAM) -> Upstream:
        made.append(Upstream(address, behave))
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.close()


def refuse_with(code: str) -> Callable[[DNSRecord, bool], bytes]:
    """A behaviour: every question gets the reply code `code` and nothing else."""

    def behave(question: DNSRecord, over_tcp: bool) -> bytes:
        header = DNSHeader(id=question.header.id, qr=1, ra=1, rcode=getattr(RCODE, code))
        return bytes(DNSRecord(header, q=question.q).pack())

    return behave
