"""The server as containers meet it: real packets, in a network namespace of the test's own."""

from __future__ import annotations

import socket
import struct
import subprocess

import pytest
from dnslib import DNSRecord

from runtime.layout import Layout
from runtime.network.dns.process import ensure_dns, read_dns
from runtime.network.dns.records import ensure_listen, ensure_records, remove_listen, remove_records
from tests.dns.conftest import BACK, FRONT, answers, code_of, connect_tcp, eventually, query, receive_message

pytestmark = pytest.mark.kernel

WEB, DB = "127.1.0.2", "127.2.0.2"


def two_networks(layout: Layout) -> None:
    """`front` with web, internal `back` with db."""
    ensure_listen(layout, "front", [f"{FRONT}/16"])
    ensure_listen(layout, "back", [f"{BACK}/16"], internal=True)
    ensure_records(layout, "front", "web", ["web", "www"], [WEB])
    ensure_records(layout, "back", "db", ["db"], [DB])


@pytest.mark.parametrize("tcp", [False, True])
def test_a_container_resolves_its_networks_names_at_the_gateway(server: Layout, tcp: bool) -> None:
    two_networks(server)
    assert answers(query("web", client=WEB, tcp=tcp)) == [WEB]
    assert answers(query("WWW", client=WEB, tcp=tcp)) == [WEB]
    assert answers(query("2.0.1.127.in-addr.arpa", "PTR", client=WEB, tcp=tcp)) == ["web.front."]
    assert code_of(query("absent", client=WEB, tcp=tcp)) == "NXDOMAIN"
    assert (code_of(reply := query("web", "AAAA", client=WEB, tcp=tcp)), answers(reply)) == ("NOERROR", [])


def test_a_container_does_not_resolve_another_networks_names(server: Layout) -> None:
    two_networks(server)
    assert code_of(query("db", client=WEB)) == "NXDOMAIN"
    assert answers(query("db", at=BACK, client=DB)) == [DB]


def test_a_container_that_asks_at_another_networks_gateway_gets_no_answer(server: Layout) -> None:
    two_networks(server)
    with pytest.raises(TimeoutError):
        query("db", at=BACK, client=WEB, timeout=0.3)
    with connect_tcp(BACK, WEB) as link:
        question = bytes(DNSRecord.question("db").pack())
        link.sendall(struct.pack("!H", len(question)) + question)
        assert receive_message(link) == b""


def test_a_name_resolves_from_the_moment_it_is_recorded_until_it_is_removed(server: Layout) -> None:
    two_networks(server)
    for number in range(100):
        address = f"127.1.2.{number}"
        assert ensure_records(server, "front", "new", ["new"], [address])
        assert answers(query("new", client=WEB)) == [address]
        remove_records(server, "front", "new")
        assert code_of(query("new", client=WEB)) == "NXDOMAIN"


def test_recording_the_same_again_changes_nothing(server: Layout) -> None:
    two_networks(server)
    assert not ensure_records(server, "front", "web", ["web", "www"], [WEB])
    assert not ensure_listen(server, "front", [f"{FRONT}/16"])


def test_replicas_bring_one_name_together_and_leave_it_one_by_one(server: Layout) -> None:
    two_networks(server)
    replicas = {f"127.1.3.{number}" for number in range(1, 4)}
    for address in replicas:
        ensure_records(server, "front", f"api-{address[-1]}", ["tasks.api"], [address])
    assert set(answers(query("tasks.api", client=WEB))) == replicas
    assert {answers(query("tasks.api", client=WEB))[0] for _ in range(3)} == replicas
    remove_records(server, "front", "api-2")
    assert set(answers(query("tasks.api", client=WEB))) == replicas - {"127.1.3.2"}


def test_a_network_is_listened_to_once_recorded_and_no_longer_once_removed(server: Layout) -> None:
    assert read_dns(server).listening == ()
    two_networks(server)
    assert read_dns(server).listening == (("back", BACK), ("front", FRONT))

    remove_listen(server, "front")

    assert read_dns(server).listening == (("back", BACK),)
    with pytest.raises(ConnectionRefusedError):
        query("web", client=WEB, timeout=1)
    with pytest.raises(ConnectionRefusedError):
        query("web", client=WEB, tcp=True, timeout=1)
    two_networks(server)
    assert answers(query("web", client=WEB)) == [WEB]


def test_a_network_whose_address_moves_is_listened_to_at_the_new_one(server: Layout) -> None:
    two_networks(server)
    ensure_listen(server, "front", ["127.1.0.9/16"])
    assert answers(query("web", at="127.1.0.9", client=WEB)) == [WEB]
    with pytest.raises(ConnectionRefusedError):
        query("web", at=FRONT, client=WEB, timeout=1)


@pytest.mark.vm
def test_a_gateway_is_listened_to_before_its_bridge_stands(server: Layout) -> None:
    ensure_listen(server, "later", ["10.77.0.1/24", "fd77::1/64"])
    ensure_records(server, "later", "web", ["web"], ["10.77.0.2", "fd77::2"])
    assert read_dns(server).listening == (("later", "10.77.0.1"), ("later", "fd77::1"))

    subprocess.run(["ip", "link", "add", "ttlater", "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", "10.77.0.1/24", "dev", "ttlater"], check=True)
    subprocess.run(["ip", "address", "add", "fd77::1/64", "dev", "ttlater", "nodad"], check=True)
    subprocess.run(["ip", "link", "set", "ttlater", "up"], check=True)

    assert answers(query("web", at="10.77.0.1")) == ["10.77.0.2"]
    for tcp in (False, True):
        assert answers(query("web", "AAAA", at="fd77::1", tcp=tcp)) == ["fd77::2"]
    nibbles = "2." + "0." * 27 + "7.7.d.f.ip6.arpa"
    assert answers(query(nibbles, "PTR", at="fd77::1")) == ["web.later."]


def test_an_address_held_by_another_server_is_told_and_had_once_it_is_free(server: Layout) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 53))
        two_networks(server)
        observed = read_dns(server)
        assert observed.listening == ()
        network, address, reason = observed.failed[0]
        assert (network, address) == ("back", BACK)
        assert "Address already in use; another DNS server of this host" in reason
    assert eventually(lambda: read_dns(server).failed == ())
    assert answers(query("web", client=WEB)) == [WEB]


def test_a_reply_too_long_for_a_datagram_is_fetched_over_tcp(server: Layout) -> None:
    two_networks(server)
    for number in range(200):
        ensure_records(server, "front", f"r{number}", ["many"], [f"127.1.9.{number}"])
    short = query("many", client=WEB)
    assert short.header.tc
    assert len(bytes(short.pack())) <= 512
    assert len(query("many", client=WEB, tcp=True).rr) == 200


def test_files_that_are_no_records_are_passed_over(server: Layout) -> None:
    two_networks(server)
    directory = server.dns / "networks/front"
    for name, content in (("broken", b"{"), ("empty", b""), ("list", b"[]"), ("other", b'{"names": 3}')):
        (directory / f".{name}").write_bytes(content)
        (directory / f".{name}").rename(directory / name)
    (server.dns / "networks/file").write_bytes(b"")
    assert answers(query("web", client=WEB)) == [WEB]
    assert ensure_dns(server) is False


def test_a_thousand_owners_are_followed_one_file_at_a_time(server: Layout) -> None:
    two_networks(server)
    for number in range(1000):
        ensure_records(server, "front", f"c{number}", [f"c{number}"], [f"127.1.{10 + number // 250}.{number % 250}"])
    assert answers(query("c999", client=WEB)) == ["127.1.13.249"]
    status = read_dns(server)
    before = _reads(status.pid)
    ensure_records(server, "front", "c500", ["c500"], ["127.1.200.1"])
    assert answers(query("c500", client=WEB)) == ["127.1.200.1"]
    assert _reads(status.pid) - before < 30


def _reads(pid: int | None) -> int:
    with open(f"/proc/{pid}/io") as file:  # noqa: PTH123
        return int(next(line.split()[1] for line in file if line.startswith("syscr")))
