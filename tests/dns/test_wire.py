"""Packets: read like a second implementation reads them, and never trusted."""

from __future__ import annotations

import pytest
from dnslib import EDNS0, QTYPE, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.network.dns import wire
from runtime.network.dns.wire import Code, Malformed, Type

labels = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)
names = st.lists(labels, min_size=1, max_size=6).map(".".join)


@settings(deadline=None)
@given(names, st.sampled_from(["A", "AAAA", "PTR", "MX", "ANY"]), st.sampled_from([None, 512, 1232, 4096]))
def test_a_question_of_another_implementation_is_read_as_it_was_meant(
    name: str, kind: str, payload: int | None
) -> None:
    record = DNSRecord.question(name.upper(), kind)
    if payload is not None:
        record.add_ar(EDNS0(udp_len=payload))

    query = wire.read_query(bytes(record.pack()))

    assert (query.name, query.type, query.cls) == (name.rstrip("."), getattr(QTYPE, kind), wire.CLASS_IN)
    assert query.payload == (payload or 512)
    assert query.edns == (None if payload is None else 0)


@settings(deadline=None)
@given(names, st.lists(st.integers(0, 2**32 - 1), max_size=60), st.integers(120, 1500))
def test_a_reply_is_read_by_another_implementation_and_keeps_its_limit(
    name: str, values: list[int], limit: int
) -> None:
    asked = DNSRecord.question(name)
    query = wire.read_query(bytes(asked.pack()))
    records = [wire.write_record(Type.A, 5, value.to_bytes(4, "big")) for value in values]
    room = max(limit, len(bytes(asked.pack())))

    packet = wire.write_reply(query, Code.NOERROR, records, limit=room, authoritative=True)
    reply = DNSRecord.parse(packet)

    assert len(packet) <= room
    assert reply.header.id == asked.header.id
    assert reply.q.qname == asked.q.qname
    assert [int.from_bytes(bytes(rr.rdata.data), "big") for rr in reply.rr] == values[: len(reply.rr)]
    assert bool(reply.header.tc) == (len(reply.rr) < len(values))
    assert all(rr.rname == asked.q.qname for rr in reply.rr)


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(packet: bytes) -> None:
    try:
        query = wire.read_query(packet)
    except Malformed:
        error = wire.write_error(packet, Code.FORMERR)
        assert error is None or len(error) == 12
    else:
        assert len(query.echo) <= 259


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, 80))
def test_a_question_cut_or_bent_anywhere_is_read_or_refused(noise: bytes, at: int) -> None:
    record = DNSRecord.question("web.example.org", "A")
    record.add_ar(EDNS0(udp_len=1232))
    packet = bytes(record.pack())
    bent = packet[:at] + noise + packet[at + len(noise) :]
    for each in (bent, packet[:at]):
        try:
            wire.read_query(each)
        except Malformed:
            continue


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\0" * 11, "shorter than a header"),
        (b"\0\1\x80\0\0\1" + b"\0" * 6 + b"\0\0\1\0\1", "a reply"),
        (b"\0\1\0\0\0\2" + b"\0" * 6 + b"\0\0\1\0\1", "not exactly one question"),
        (b"\0\1\0\0\0\1" + b"\0" * 6 + b"\xc0\x0c\0\1\0\1", "bad label"),
        (b"\0\1\0\0\0\1" + b"\0" * 6 + b"\x3fabc", "bad label"),
        (b"\0\1\0\0\0\1" + b"\0" * 6 + b"\3abc\0\0\1", "cut short"),
    ],
)
def test_a_packet_that_is_not_one_question_is_refused(packet: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        wire.read_query(packet)


def test_a_reply_is_never_answered_so_that_two_servers_cannot_talk_for_ever() -> None:
    assert wire.write_error(b"\0\1\x80\0" + b"\xff" * 20, Code.FORMERR) is None


def test_a_dot_inside_a_label_does_not_make_it_another_name() -> None:
    packet = b"\0\1\0\0\0\1" + b"\0" * 6 + b"\3a.b\0\0\1\0\1"
    assert wire.read_query(packet).name != "a.b"


def test_a_name_of_more_than_255_bytes_is_refused() -> None:
    packet = b"\0\1\0\0\0\1" + b"\0" * 6 + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1"
    with pytest.raises(Malformed, match="bad label"):
        wire.read_query(packet)


def test_a_truncated_reply_keeps_id_and_question_and_says_so() -> None:
    record = DNSRecord.question("long.example.org")
    reply = record.reply()
    reply.add_answer(*[f"long.example.org. 5 A 10.0.0.{n}" for n in range(1)][:0])
    packet = bytes(reply.pack()) + b"x" * 600

    cut = DNSRecord.parse(wire.truncated(packet, 512))

    assert (cut.header.id, cut.q.qname, cut.header.tc, cut.rr) == (record.header.id, record.q.qname, 1, [])
