"""The answer to one question, or that it is another server's to answer.

Pure but for the shuffling of replicas, which is the caller's. Decides: which names are ours, NXDOMAIN against NODATA
(a name that exists without an address of the asked family), what is never forwarded (single labels, addresses of our
own networks, anything from an internal network). Neither reads sockets nor forwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from runtime.network.dns import wire
from runtime.network.dns.wire import Code, Malformed, Query, Type
from runtime.network.dns.zone import Address, Names, View

TTL_SECONDS = 5
"""How long a client may keep an answer: short, since replicas come and go."""
MAX_CACHED_QUESTION = 512
"""Bytes of a question worth remembering."""
MAX_ROTATIONS = 32
"""Orders kept of one name's addresses, so that each replica stands first equally often."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The question is not ours: ask `resolvers`, or the host's where empty."""

    query: Query
    resolvers: tuple[str, ...]


def answer(names: Names, view: View, packet: bytes, *, over_tcp: bool = False) -> bytes | Forward | None:
    """The reply to `packet`, or where it goes; None where it deserves no reply.

    Over UDP a repeated question is answered from the view's cache, whose key is the packet after its id: the next
    reply of the remembered ones, so that several addresses take turns.
    """
    if not over_tcp:
        remembered = view.cache.get(packet[2:])
        if remembered is not None:
            remembered.append(remembered.pop(0))
            return packet[:2] + remembered[0]
    try:
        query = wire.read_query(packet)
    except Malformed:
        return wire.write_error(packet, Code.FORMERR)
    limit = wire.MAX_MESSAGE if over_tcp else min(query.payload, wire.MAX_PAYLOAD)
    refusal = _refusal(query)
    if refusal is not None:
        return wire.write_reply(query, refusal, limit=limit, authoritative=False)
    return _resolve(names, view, packet, query, limit)


def _refusal(query: Query) -> Code | None:
    if query.opcode != 0:
        return Code.NOTIMP
    if query.edns:
        return Code.BADVERS
    if query.cls not in (wire.CLASS_IN, wire.CLASS_ANY):
        return Code.REFUSED
    return None


def _resolve(names: Names, view: View, packet: bytes, query: Query, limit: int) -> bytes | Forward:
    found = view.addresses_of(query.name)
    if found is not None:
        names.shuffle(found)
        replies = _address_replies(query, found, limit)
        if limit != wire.MAX_MESSAGE and len(packet) <= MAX_CACHED_QUESTION:
            names.remember(view, packet[2:], [reply[2:] for reply in replies])
        return replies[0]
    asked = reverse_address(query.name)
    if asked is not None:
        target = view.name_of(str(asked))
        if target is not None:
            return _pointer_reply(query, target, limit)
    if _is_ours_alone(view, query.name, asked) or not view.forwards:
        return wire.write_reply(query, Code.NXDOMAIN, limit=limit, authoritative=True)
    return Forward(query, view.resolvers)


def _is_ours_alone(view: View, name: str, asked: Address | None) -> bool:
    """Whether no other server may be asked: single labels (never a public name), addresses of our networks."""
    return view.contains(asked) if asked is not None else bool(name) and "." not in name


def _address_replies(query: Query, addresses: list[str], limit: int) -> list[bytes]:
    """One reply per rotation of the addresses, each a whole packet. No record of the asked type is NODATA."""
    records = [record for address in addresses if (record := _address_record(query.type, ip_address(address)))]
    turns = [records[at:] + records[:at] for at in range(min(len(records), MAX_ROTATIONS))] or [[]]
    return [wire.write_reply(query, Code.NOERROR, turn, limit=limit, authoritative=True) for turn in turns]


def _address_record(asked: int, address: Address) -> bytes | None:
    kind = Type.A if address.version == 4 else Type.AAAA
    return wire.write_record(kind, TTL_SECONDS, address.packed) if asked in (kind, Type.ANY) else None


def _pointer_reply(query: Query, target: str, limit: int) -> bytes:
    asked = query.type in (Type.PTR, Type.ANY)
    records = [wire.write_record(Type.PTR, TTL_SECONDS, wire.write_name(target))] if asked else []
    return wire.write_reply(query, Code.NOERROR, records, limit=limit, authoritative=True)


def reverse_address(name: str) -> Address | None:
    """The address a reverse name stands for (`4.3.2.10.in-addr.arpa`, 32 nibbles under `ip6.arpa`), else None."""
    labels = name.split(".")
    try:
        if name.endswith(".in-addr.arpa") and len(labels) == 6:
            return IPv4Address(".".join(reversed(labels[:4])))
        if name.endswith(".ip6.arpa") and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
            return IPv6Address(int("".join(reversed(labels[:32])), 16))
    except ValueError:
        return None
    return None
