"""Clients that mean harm: whatever one sends, the next one is answered, and nothing grows without bound."""

from __future__ import annotations

import random
import socket
import struct
import time
from pathlib import Path

import pytest
from dnslib import DNSRecord

from runtime.layout import Layout
from runtime.network.dns import streams
from runtime.network.dns.process import read_dns
from runtime.network.dns.records import ensure_listen, ensure_records
from tests.dns.conftest import FRONT, answers, connect_tcp, query, receive_message

pytestmark = pytest.mark.kernel

WEB, EVIL = "127.1.0.2", "127.1.0.66"


@pytest.fixture
def front(server: Layout) -> Layout:
    ensure_listen(server, "front", [f"{FRONT}/16"])
    ensure_records(server, "front", "web", ["web"], [WEB])
    return server


def memory(layout: Layout) -> int:
    """The server's private memory in KiB."""
    lines = Path(f"/proc/{read_dns(layout).pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Private_Dirty")))


def descriptors(layout: Layout) -> int:
    return len(list(Path(f"/proc/{read_dns(layout).pid}/fd").iterdir()))


def message(packet: bytes) -> bytes:
    return struct.pack("!H", len(packet)) + packet


def test_garbage_packets_cost_nothing_but_themselves(front: Layout) -> None:
    dice = random.Random(7)
    good = bytes(DNSRecord.question("web").pack())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((EVIL, 0))
        link.connect((FRONT, 53))
        link.setblocking(False)
        for number in range(3000):
            packet = bytearray(dice.randbytes(dice.choice((0, 1, 11, 12, 40, 600, 5000))) if number % 2 else good)
            for _ in range(3):
                if packet:
                    packet[dice.randrange(len(packet))] = dice.randrange(256)
            link.send(packet)
            if number % 50 == 0:
                assert answers(query("web", client=WEB)) == [WEB]
    assert ensure_no_fault(front)


def ensure_no_fault(layout: Layout) -> bool:
    log = (layout.dns / "server.log").read_text()
    assert log == ""
    return True


def test_a_flood_of_invented_names_does_not_fill_the_memory(front: Layout) -> None:
    query("web", client=WEB)
    before = memory(front)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((EVIL, 0))
        link.connect((FRONT, 53))
        link.settimeout(2)
        for number in range(20000):
            name = f"n{number}" if number % 2 else "web"
            packet = bytes(DNSRecord.question(name).pack()) + struct.pack("!I", number)
            link.send(packet)
            if number % 32 == 31:
                for _ in range(32):
                    link.recv(4096)
    assert memory(front) - before < 6000


@pytest.mark.parametrize("length", [0, 11, 4097, 65535])
def test_a_declared_length_that_no_question_has_ends_the_connection(front: Layout, length: int) -> None:
    with connect_tcp(FRONT, EVIL) as link:
        link.sendall(struct.pack("!H", length) + b"x" * 100)
        assert was_hung_up(link)
    assert answers(query("web", client=WEB, tcp=True)) == [WEB]


def was_hung_up(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except ConnectionResetError:
        return True


def test_one_clients_connections_are_limited_and_the_others_go_on(front: Layout) -> None:
    links = [connect_tcp(FRONT, EVIL) for _ in range(streams.MAX_CONNECTIONS_PER_CLIENT + 10)]
    try:
        for link in links[streams.MAX_CONNECTIONS_PER_CLIENT :]:
            assert was_hung_up(link)
        assert answers(query("web", client=WEB, tcp=True)) == [WEB]
        links[0].sendall(message(bytes(DNSRecord.question("web").pack())))
        assert DNSRecord.parse(receive_message(links[0])).rr
    finally:
        for link in links:
            link.close()


def test_connections_from_invented_addresses_displace_the_oldest_not_the_newest(front: Layout) -> None:
    before = descriptors(front)
    links = [connect_tcp(FRONT, f"127.1.66.{number % 250}") for number in range(streams.MAX_CONNECTIONS + 20)]
    try:
        assert answers(query("web", client=WEB, tcp=True)) == [WEB]
        assert descriptors(front) <= before + streams.MAX_CONNECTIONS
        assert was_hung_up(links[0])
    finally:
        for link in links:
            link.close()


def test_many_questions_in_one_write_are_all_answered_in_order(front: Layout) -> None:
    packets = [bytes(DNSRecord.question("web").pack()) for _ in range(500)]
    with connect_tcp(FRONT, EVIL) as link:
        link.sendall(b"".join(message(packet) for packet in packets))
        replies = [receive_message(link) for _ in packets]
    assert [reply[:2] for reply in replies] == [packet[:2] for packet in packets]


def test_a_question_that_arrives_byte_by_byte_is_answered(front: Layout) -> None:
    packet = bytes(DNSRecord.question("web").pack())
    with connect_tcp(FRONT, EVIL) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in message(packet):
            link.sendall(bytes((byte,)))
        assert DNSRecord.parse(receive_message(link)).rr


def test_a_client_that_stops_writing_still_gets_its_answer(front: Layout) -> None:
    with connect_tcp(FRONT, EVIL) as link:
        link.sendall(message(bytes(DNSRecord.question("web").pack())))
        link.shutdown(socket.SHUT_WR)
        assert DNSRecord.parse(receive_message(link)).rr
        assert was_hung_up(link)


def test_a_client_that_never_reads_its_answers_is_no_longer_read_from(front: Layout) -> None:
    for number in range(250):
        ensure_records(front, "front", f"r{number}", ["many"], [f"127.1.9.{number}"])
    before = memory(front)
    batch = message(bytes(DNSRecord.question("many").pack())) * 100
    with connect_tcp(FRONT, EVIL, timeout=1.0) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(TimeoutError):
            for _ in range(100000):
                link.sendall(batch)
        assert answers(query("web", client=WEB)) == [WEB]
        assert memory(front) - before < 4000


def test_a_silent_connection_is_ended_after_its_time() -> None:
    """The clock is the test's: no packet, no waiting."""
    from runtime.network.dns.listeners import Listener
    from runtime.network.dns.loop import Loop

    loop, now = Loop(lambda: None), [100.0]
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    clients = streams.Streams(loop, lambda stream, packet, reply: reply(b"answer"), lambda: now[0])
    with server, socket.create_connection(server.getsockname()) as link:
        link.settimeout(2)
        clients.accept(Listener("front", "127.0.0.1", server, server))
        assert clients.next_deadline() == 100.0 + streams.QUESTION_SECONDS
        link.sendall(b"\0\x0c\0")  # A question begun does not prolong it.
        loop.run_once(2)
        clients.expire(100.0 + streams.QUESTION_SECONDS - 1)
        assert clients.next_deadline() == 100.0 + streams.QUESTION_SECONDS
        now[0] = 105.0
        link.sendall(b"\0" * 11)
        loop.run_once(2)
        assert receive_message(link) == b"answer"
        assert clients.next_deadline() == 105.0 + streams.QUESTION_SECONDS
        clients.expire(105.0 + streams.QUESTION_SECONDS)
        assert was_hung_up(link)
        assert clients.next_deadline() is None


def test_the_server_still_answers_quickly_under_a_flood(front: Layout) -> None:
    packet = bytes(DNSRecord.question("web").pack())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((EVIL, 0))
        link.connect((FRONT, 53))
        link.setblocking(False)
        start = time.monotonic()
        for _ in range(20):
            for _ in range(200):
                link.send(packet)
            assert answers(query("web", client=WEB)) == [WEB]
        assert time.monotonic() - start < 5
