"""What is answered, what is denied, what goes elsewhere: one small world, one question each."""

from __future__ import annotations

import struct

import pytest
from dnslib import CLASS, EDNS0, DNSRecord

from runtime.network.dns.answers import Forward, answer, reverse_address
from runtime.network.dns.record_files import OwnerRecords
from runtime.network.dns.zone import MAX_CACHED, MAX_VIEWS, Names, View, Zone
from tests.dns.conftest import answers, code_of

WEB, DB, BOTH, STRANGER = "10.1.0.2", "10.2.0.2", "10.1.0.9", "10.1.0.77"


def world(shuffle: bool = False) -> Names:
    """Network `front` with web (also IPv6), three replicas and a service; internal `back` with db; `both` in both."""
    names = Names() if shuffle else Names(shuffle=lambda found: None)
    front, back = Zone("front"), Zone("back")
    front.set_network(("10.1.0.1/24", "fd01::1/64"), internal=False)
    back.set_network(("10.2.0.1/24",), internal=True)
    front.put("web", OwnerRecords(("web", "www"), (WEB, "fd01::2")))
    front.put("v4only", OwnerRecords(("v4only",), ("10.1.0.3",)))
    front.put("service.api", OwnerRecords(("api",), ("10.1.0.100",)))
    for number in (1, 2, 3):
        front.put(f"api-{number}", OwnerRecords((f"api-{number}", "tasks.api"), (f"10.1.0.1{number}",)))
    front.put("both", OwnerRecords(("both",), (BOTH,)))
    back.put("both", OwnerRecords(("both",), ("10.2.0.9",)))
    back.put("db", OwnerRecords(("db",), (DB,)))
    front.put("picky", OwnerRecords(("picky",), ("10.1.0.50",), resolvers=("9.9.9.9",)))
    names.zones = {"front": front, "back": back}
    return names


def ask(
    names: Names,
    name: str,
    kind: str = "A",
    network: str = "front",
    client: str = WEB,
    tcp: bool = False,
    payload: int | None = None,
) -> DNSRecord | Forward:
    record = DNSRecord.question(name, kind)
    if payload is not None:
        record.add_ar(EDNS0(udp_len=payload))
    view = names.view(network, client)
    assert view is not None
    outcome = answer(names, view, bytes(record.pack()), over_tcp=tcp)
    assert outcome is not None
    return outcome if isinstance(outcome, Forward) else DNSRecord.parse(outcome)


@pytest.mark.parametrize(
    ("name", "kind", "code", "expected"),
    [
        ("web", "A", "NOERROR", [WEB]),
        ("web", "AAAA", "NOERROR", ["fd01::2"]),
        ("web", "ANY", "NOERROR", [WEB, "fd01::2"]),
        ("WwW", "A", "NOERROR", [WEB]),
        ("web.front", "A", "NOERROR", [WEB]),
        ("api", "A", "NOERROR", ["10.1.0.100"]),
        ("tasks.api", "A", "NOERROR", ["10.1.0.11", "10.1.0.12", "10.1.0.13"]),
        ("v4only", "AAAA", "NOERROR", []),
        ("web", "MX", "NOERROR", []),
        ("absent", "A", "NXDOMAIN", []),
        ("2.0.1.10.in-addr.arpa", "PTR", "NOERROR", ["web.front."]),
        ("2.0.1.10.in-addr.arpa", "A", "NOERROR", []),
        ("99.0.1.10.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("2." + "0." * 27 + "1.0.d.f.ip6.arpa", "PTR", "NOERROR", ["web.front."]),
    ],
)
def test_a_name_of_ours_is_answered_here(name: str, kind: str, code: str, expected: list[str]) -> None:
    reply = ask(world(), name, kind)
    assert isinstance(reply, DNSRecord)
    assert (code_of(reply), answers(reply)) == (code, expected)
    assert (reply.header.qr, reply.header.aa, reply.header.ra) == (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("example.org", "A"),
        ("www.front.example", "A"),
        ("8.8.8.8.in-addr.arpa", "PTR"),
        ("1.10.in-addr.arpa", "NS"),
        (".", "NS"),
    ],
)
def test_any_other_name_is_forwarded(name: str, kind: str) -> None:
    assert isinstance(ask(world(), name, kind), Forward)


def test_a_client_of_another_network_is_not_even_seen() -> None:
    assert world().view("front", DB) is None
    assert world().view("nowhere", WEB) is None


def test_a_container_does_not_resolve_the_names_of_a_network_it_is_not_in() -> None:
    reply = ask(world(), "db")
    assert isinstance(reply, DNSRecord)
    assert code_of(reply) == "NXDOMAIN"
    assert isinstance(ask(world(), "db.back"), Forward)


@pytest.mark.parametrize(("network", "client"), [("front", BOTH), ("back", "10.2.0.9")])
def test_a_container_in_two_networks_resolves_both_through_either_gateway(network: str, client: str) -> None:
    for name, expected in (("web", [WEB]), ("db", [DB]), ("db.back", [DB])):
        reply = ask(world(), name, network=network, client=client)
        assert isinstance(reply, DNSRecord)
        assert answers(reply) == expected


def test_a_name_in_both_networks_is_that_of_the_network_asked() -> None:
    for network, client, expected in (("front", BOTH, [BOTH]), ("back", "10.2.0.9", ["10.2.0.9"])):
        reply = ask(world(), "both", network=network, client=client)
        assert isinstance(reply, DNSRecord)
        assert answers(reply) == expected


def test_an_internal_network_forwards_nothing() -> None:
    reply = ask(world(), "example.org", network="back", client=DB)
    assert isinstance(reply, DNSRecord)
    assert code_of(reply) == "NXDOMAIN"


def test_a_container_also_in_an_open_network_has_its_questions_forwarded() -> None:
    assert isinstance(ask(world(), "example.org", network="back", client="10.2.0.9"), Forward)


def test_a_containers_own_resolvers_go_with_its_question() -> None:
    forward = ask(world(), "example.org", client="10.1.0.50")
    assert isinstance(forward, Forward)
    assert forward.resolvers == ("9.9.9.9",)


def test_every_replica_stands_first_equally_often() -> None:
    names, firsts = world(shuffle=True), []
    for _ in range(30):
        reply = ask(names, "tasks.api")
        assert isinstance(reply, DNSRecord)
        assert len(set(answers(reply))) == 3
        firsts.append(answers(reply)[0])
    assert {firsts.count(each) for each in set(firsts)} == {10}


def test_a_reply_too_long_for_a_datagram_says_so_and_is_whole_over_tcp() -> None:
    names = world()
    for number in range(100):
        names.zones["front"].put(f"r{number}", OwnerRecords(("many",), (f"10.1.1.{number}",)))
    for payload, limit in ((None, 512), (600, 600), (4096, 1232)):
        reply = ask(names, "many", payload=payload)
        assert isinstance(reply, DNSRecord)
        assert reply.header.tc
        assert limit - 16 < len(bytes(reply.pack())) <= limit
    whole = ask(names, "many", tcp=True)
    assert isinstance(whole, DNSRecord)
    assert (whole.header.tc, len(whole.rr)) == (0, 100)


def test_a_change_of_the_records_is_not_hidden_by_a_remembered_reply() -> None:
    names = world()
    ask(names, "web")
    names.zones["front"].put("web", OwnerRecords(("web",), ("10.1.0.200",)))
    names.forget_views()
    reply = ask(names, "web")
    assert isinstance(reply, DNSRecord)
    assert answers(reply) == ["10.1.0.200"]


def test_a_remembered_reply_carries_the_id_and_the_letters_of_each_question() -> None:
    names = world()
    for name in ("web", "web", "WEB"):
        record = DNSRecord.question(name)
        view = names.view("front", WEB)
        assert view is not None
        outcome = answer(names, view, bytes(record.pack()))
        assert isinstance(outcome, bytes)
        assert outcome[:2] == bytes(record.pack())[:2]
        assert outcome[12 : 12 + 5] == bytes(record.pack())[12 : 12 + 5]


def test_dropping_an_owner_leaves_the_others_of_the_same_name() -> None:
    names = world()
    names.zones["front"].drop("api-2")
    names.zones["front"].drop("never-there")
    reply = ask(names, "tasks.api")
    assert isinstance(reply, DNSRecord)
    assert answers(reply) == ["10.1.0.11", "10.1.0.13"]
    for owner in ("api-1", "api-3"):
        names.zones["front"].drop(owner)
    assert "tasks.api" not in names.zones["front"].names


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda record: setattr(record.header, "opcode", 5), "NOTIMP"),
        (lambda record: setattr(record.q, "qclass", CLASS.CH), "REFUSED"),
        (lambda record: record.add_ar(EDNS0(version=1)), "NOERROR"),
    ],
)
def test_what_is_no_plain_question_is_refused_in_its_own_words(change: object, code: str) -> None:
    record = DNSRecord.question("web")
    assert callable(change)
    change(record)
    names = world()
    view = names.view("front", WEB)
    assert view is not None
    outcome = answer(names, view, bytes(record.pack()))
    assert isinstance(outcome, bytes)
    reply = DNSRecord.parse(outcome)
    assert code_of(reply) == code
    assert reply.rr == []
    if code == "NOERROR":  # BADVERS is told in the OPT record's upper bits.
        assert reply.ar[0].ttl >> 24 == 1


def test_invented_addresses_and_names_do_not_fill_the_memory() -> None:
    names = world()
    for number in range(MAX_VIEWS * 2):
        view = names.view("front", f"10.1.0.{number % 250}")
        assert view is not None
        answer(names, view, struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 1) + b"\3web\0\0\1\0\1" + opt(number))
    assert names.cached <= MAX_CACHED
    views: list[View] = [view for view in names._views.values() if view is not None]
    assert len(names._views) <= MAX_VIEWS
    assert sum(len(view.cache) for view in {id(view): view for view in views}.values()) <= MAX_CACHED


def opt(number: int) -> bytes:
    """An OPT record with a padding that differs by number."""
    return struct.pack("!BHHIHHHI", 0, 41, 1232, 0, 8, 12, 4, number)


@pytest.mark.parametrize("name", ["1.2.3.in-addr.arpa", "x.2.3.4.in-addr.arpa", "1.2.3.400.in-addr.arpa", "a.ip6.arpa"])
def test_a_broken_reverse_name_is_no_address(name: str) -> None:
    assert reverse_address(name) is None
