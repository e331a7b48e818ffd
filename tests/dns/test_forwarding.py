"""Other names: asked of the host's resolvers, whatever those do."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dnslib import RR, DNSRecord

from runtime.layout import Layout
from runtime.network.dns.records import ensure_listen, ensure_records
from runtime.network.dns.resolvers import HostResolvers, nameservers
from tests.dns.conftest import (
    BACK,
    FRONT,
    UPSTREAM,
    Upstream,
    answers,
    code_of,
    query,
    refuse_with,
    write_resolv_conf,
)

WEB = "127.1.0.2"
OTHER = "127.9.0.2"
Make = Callable[..., Upstream]


def gives(address: str) -> Callable[[DNSRecord, bool], bytes]:
    """A behaviour: every name has `address`."""

    def behave(question: DNSRecord, over_tcp: bool) -> bytes:
        reply = question.reply()
        reply.add_answer(*RR.fromZone(f"{question.q.qname} 60 A {address}"))
        return bytes(reply.pack())

    return behave


def silent(question: DNSRecord, over_tcp: bool) -> None:
    return None


@pytest.fixture
def front(server: Layout) -> Layout:
    """Network `front` with one container."""
    ensure_listen(server, "front", [f"{FRONT}/16"])
    ensure_records(server, "front", "web", ["web"], [WEB])
    return server


@pytest.mark.kernel
@pytest.mark.parametrize("tcp", [False, True])
def test_another_name_is_asked_of_the_hosts_resolver_as_the_client_asked(
    front: Layout, upstream: Make, tcp: bool
) -> None:
    resolver = upstream(gives("93.184.216.34"))
    assert answers(query("example.org", client=WEB, tcp=tcp)) == ["93.184.216.34"]
    assert resolver.asked == [("example.org", "A", tcp)]


@pytest.mark.kernel
def test_names_of_ours_and_unknown_single_labels_never_leave(front: Layout, upstream: Make) -> None:
    resolver = upstream(gives("6.6.6.6"))
    query("web", client=WEB)
    query("absent", client=WEB)
    query("77.0.1.127.in-addr.arpa", "PTR", client=WEB)
    query("web.front", "AAAA", client=WEB)
    assert resolver.asked == []
    query("8.8.8.8.in-addr.arpa", "PTR", client=WEB)
    assert resolver.asked == [("8.8.8.8.in-addr.arpa", "PTR", False)]


@pytest.mark.kernel
def test_an_internal_network_asks_nobody(front: Layout, upstream: Make) -> None:
    resolver = upstream(gives("6.6.6.6"))
    ensure_listen(front, "back", [f"{BACK}/16"], internal=True)
    assert code_of(query("example.org", at=BACK, client="127.2.0.5")) == "NXDOMAIN"
    assert resolver.asked == []


@pytest.mark.kernel
def test_a_silent_resolver_is_followed_by_the_next_and_asked_last_afterwards(
    front: Layout, upstream: Make, resolv_conf: Path
) -> None:
    dead, good = upstream(silent), upstream(gives("1.1.1.1"), OTHER)
    write_resolv_conf(resolv_conf, UPSTREAM, OTHER)
    assert answers(query("example.org", client=WEB, timeout=5)) == ["1.1.1.1"]
    assert len(dead.asked) == 1
    start = time.monotonic()
    assert answers(query("again.example.org", client=WEB)) == ["1.1.1.1"]
    assert time.monotonic() - start < 1
    assert (len(dead.asked), len(good.asked)) == (1, 2)


@pytest.mark.kernel
def test_a_resolver_that_is_not_there_costs_no_time(front: Layout, upstream: Make, resolv_conf: Path) -> None:
    upstream(gives("1.1.1.1"), OTHER)
    write_resolv_conf(resolv_conf, UPSTREAM, OTHER)
    start = time.monotonic()
    for tcp in (False, True):
        assert answers(query("example.org", client=WEB, tcp=tcp)) == ["1.1.1.1"]
    assert time.monotonic() - start < 1


@pytest.mark.kernel
@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "NOTIMP"])
def test_a_resolver_that_will_not_is_followed_by_the_next(
    front: Layout, upstream: Make, resolv_conf: Path, code: str
) -> None:
    upstream(refuse_with(code))
    upstream(gives("1.1.1.1"), OTHER)
    write_resolv_conf(resolv_conf, UPSTREAM, OTHER)
    assert answers(query("example.org", client=WEB)) == ["1.1.1.1"]


@pytest.mark.kernel
def test_the_last_refusal_is_passed_on_when_all_refuse(front: Layout, upstream: Make) -> None:
    resolver = upstream(refuse_with("REFUSED"))
    assert code_of(query("example.org", client=WEB)) == "REFUSED"
    assert len(resolver.asked) == 1


@pytest.mark.kernel
def test_a_denial_is_believed(front: Layout, upstream: Make, resolv_conf: Path) -> None:
    upstream(refuse_with("NXDOMAIN"))
    second = upstream(gives("1.1.1.1"), OTHER)
    write_resolv_conf(resolv_conf, UPSTREAM, OTHER)
    assert code_of(query("example.org", client=WEB)) == "NXDOMAIN"
    assert second.asked == []


@pytest.mark.kernel
def test_without_any_resolver_the_answer_is_a_failure_at_once(front: Layout, resolv_conf: Path) -> None:
    write_resolv_conf(resolv_conf)
    assert code_of(query("example.org", client=WEB)) == "SERVFAIL"
    resolv_conf.unlink()
    assert code_of(query("example.org", client=WEB)) == "SERVFAIL"


@pytest.mark.kernel
def test_a_changed_resolv_conf_counts_from_the_next_question(front: Layout, upstream: Make, resolv_conf: Path) -> None:
    upstream(gives("1.1.1.1"))
    upstream(gives("2.2.2.2"), OTHER)
    for resolver, expected in ((UPSTREAM, "1.1.1.1"), (OTHER, "2.2.2.2"), (UPSTREAM, "1.1.1.1")):
        write_resolv_conf(resolv_conf, resolver)
        assert answers(query("example.org", client=WEB)) == [expected]


@pytest.mark.kernel
def test_a_containers_own_resolvers_are_asked_instead_of_the_hosts(front: Layout, upstream: Make) -> None:
    host, own = upstream(gives("1.1.1.1")), upstream(gives("2.2.2.2"), OTHER)
    ensure_records(front, "front", "picky", ["picky"], ["127.1.0.3"], resolvers=[OTHER])
    assert answers(query("example.org", client="127.1.0.3")) == ["2.2.2.2"]
    assert answers(query("example.org", client=WEB)) == ["1.1.1.1"]
    assert (len(host.asked), len(own.asked)) == (1, 1)


@pytest.mark.kernel
def test_the_server_never_asks_itself(front: Layout, resolv_conf: Path) -> None:
    write_resolv_conf(resolv_conf, FRONT)
    start = time.monotonic()
    assert code_of(query("example.org", client=WEB)) == "SERVFAIL"
    assert time.monotonic() - start < 1


@pytest.mark.kernel
def test_a_reply_with_a_foreign_id_or_question_is_not_believed(front: Layout, upstream: Make) -> None:
    def forge(question: DNSRecord, over_tcp: bool) -> bytes:
        reply = question.reply()
        name = str(question.q.qname)
        if name.startswith("id"):
            reply.header.id = (question.header.id + 1) & 0xFFFF
        else:
            reply = DNSRecord.question("evil.example.org").reply()
            reply.header.id = question.header.id
        reply.add_answer(*RR.fromZone(f"{reply.q.qname} 60 A 6.6.6.6"))
        return bytes(reply.pack())

    resolver = upstream(forge)
    for name in ("id.example.org", "question.example.org"):
        with pytest.raises(TimeoutError):
            query(name, client=WEB, timeout=0.3)
    assert len(resolver.asked) == 2


@pytest.mark.kernel
def test_each_question_leaves_from_a_port_of_its_own(front: Layout, upstream: Make) -> None:
    resolver = upstream(gives("1.1.1.1"))
    for number in range(20):
        query(f"n{number}.example.org", client=WEB)
    assert len(resolver.ports) >= 15


@pytest.mark.kernel
def test_a_long_reply_is_cut_for_a_datagram_and_whole_over_tcp(front: Layout, upstream: Make) -> None:
    def long(question: DNSRecord, over_tcp: bool) -> bytes:
        reply = question.reply()
        for number in range(100):
            reply.add_answer(*RR.fromZone(f"{question.q.qname} 60 A 10.0.0.{number}"))
        return bytes(reply.pack())

    upstream(long)
    short = query("example.org", client=WEB)
    assert (short.header.tc, short.rr) == (1, [])
    assert len(query("example.org", client=WEB, tcp=True).rr) == 100
    assert len(query("example.org", client=WEB, payload=4096).rr) == 100


@pytest.mark.kernel
def test_a_resolver_without_tcp_is_asked_by_datagram_for_a_client_over_tcp(front: Layout, upstream: Make) -> None:
    def datagrams_only(question: DNSRecord, over_tcp: bool) -> bytes | None:
        return None if over_tcp else gives("1.1.1.1")(question, over_tcp)

    resolver = upstream(datagrams_only)
    assert answers(query("example.org", client=WEB, tcp=True)) == ["1.1.1.1"]
    assert [tcp for _, _, tcp in resolver.asked] == [True, False]


@pytest.mark.kernel
def test_one_clients_flood_leaves_room_for_the_others(front: Layout, upstream: Make) -> None:
    def slow_for_flood(question: DNSRecord, over_tcp: bool) -> bytes | None:
        return None if str(question.q.qname).startswith("flood") else gives("1.1.1.1")(question, over_tcp)

    upstream(slow_for_flood)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.1.0.66", 0))
        link.connect((FRONT, 53))
        link.settimeout(5)
        for number in range(200):
            link.send(bytes(DNSRecord.question(f"flood{number}.example.org").pack()))
        for _ in range(200 - 128):
            assert code_of(DNSRecord.parse(link.recv(512))) == "SERVFAIL"
    assert answers(query("example.org", client="127.1.0.3")) == ["1.1.1.1"]


def test_resolvers_are_read_as_the_c_library_reads_them() -> None:
    text = (
        "# nameserver 9.9.9.9\nnameserver 1.1.1.1 \nsearch a b\n nameserver fe80::1%eth0\nnameserver what\nnameserver"
    )
    assert nameservers(text) == ("1.1.1.1", "fe80::1%eth0")


def test_a_resolv_conf_rewritten_in_place_or_swapped_behind_a_link_is_read_again(tmp_path: Path) -> None:
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "resolv.conf"
    first.write_text("nameserver 1.1.1.1\n")
    second.write_text("nameserver 2.2.2.2\n")
    link.symlink_to(first)
    resolvers = HostResolvers(link)
    assert resolvers.read() == ("1.1.1.1",)
    link.unlink()
    link.symlink_to(second)
    assert resolvers.read() == ("2.2.2.2",)
    second.write_text("nameserver 3.3.3.33\n")
    os.utime(second, ns=(1, 1))
    assert resolvers.read() == ("3.3.3.33",)
    second.unlink()
    assert resolvers.read() == ()
