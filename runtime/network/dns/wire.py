"""DNS packets (RFC 1035, 6891): read one question, write one reply.

Called by the answers and by the forwarder. Knows bytes and nothing of networks or records. Written by hand, since
packets come from hostile clients: it reads exactly one question and looks for one OPT record, follows no
compression pointer, and costs a third of what a general library does per packet.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("!HHHHHH")
MIN_PAYLOAD = 512
"""Bytes of a UDP reply to a client that says nothing (RFC 1035 4.2.1)."""
MAX_PAYLOAD = 1232
"""Bytes of a UDP reply that cross any network unfragmented; what our own OPT record offers."""
MAX_MESSAGE = 65535
"""Bytes of a reply over TCP."""
MAX_QUERY = 4096
"""Bytes of a query worth reading; no honest one comes near."""

FLAG_QR, FLAG_AA, FLAG_TC, FLAG_RD, FLAG_RA, FLAG_CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
OPCODE_MASK, RCODE_MASK = 0x7800, 0x000F
CLASS_IN, CLASS_ANY = 1, 255
OPT_RECORD = struct.Struct("!BHHIH")
RECORD = struct.Struct("!HHHIH")
NAME_POINTER = 0xC00C
"""Points at the question's name, which always stands right after the header."""


class Type(IntEnum):
    """Record types this server has an opinion about."""

    A = 1
    PTR = 12
    AAAA = 28
    OPT = 41
    ANY = 255


class Code(IntEnum):
    """Reply codes (RFC 1035 4.1.1; BADVERS: RFC 6891)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Malformed(ValueError):
    """A packet that is not one well-formed query."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question: `name` in lower case without the final dot; `echo` the question's bytes as they came."""

    id: int
    flags: int
    name: str
    type: int
    cls: int
    echo: bytes
    payload: int = MIN_PAYLOAD
    edns: int | None = None

    @property
    def opcode(self) -> int:
        return self.flags & OPCODE_MASK


def read_query(packet: bytes) -> Query:
    """The question of a query packet. Raises Malformed."""
    if len(packet) < HEADER.size:
        raise Malformed("shorter than a header")
    ident, flags, questions, answers, authorities, additional = HEADER.unpack_from(packet)
    if flags & FLAG_QR:
        raise Malformed("a reply, not a query")
    if questions != 1 or answers or authorities or additional > 2:
        raise Malformed("not exactly one question")
    name, end = read_name(packet, HEADER.size)
    if end + 4 > len(packet):
        raise Malformed("cut short")
    kind, cls = struct.unpack_from("!HH", packet, end)
    payload, edns = _read_opt(packet, end + 4) if additional else (MIN_PAYLOAD, None)
    return Query(ident, flags, name, kind, cls, packet[HEADER.size : end + 4], payload, edns)


def read_name(packet: bytes, offset: int) -> tuple[str, int]:
    """An uncompressed name at `offset`, and the offset behind it. Raises Malformed."""
    labels: list[str] = []
    start = offset
    while True:
        if offset >= len(packet):
            raise Malformed("name cut short")
        length = packet[offset]
        offset += 1
        if length == 0:
            return ".".join(labels), offset
        if length > 63 or offset + length > len(packet) or offset + length - start > 254:
            raise Malformed("bad label")
        labels.append(_label_text(packet[offset : offset + length]))
        offset += length


def _label_text(label: bytes) -> str:
    """A label in lower case; a dot or a byte beyond ASCII inside one is escaped, so it never equals another name."""
    if b"." not in label and b"\\" not in label and label.isascii():
        return label.decode("ascii").lower()
    return "".join(chr(byte) if 33 <= byte < 127 and byte not in b".\\" else f"\\{byte:03d}" for byte in label).lower()


def _read_opt(packet: bytes, offset: int) -> tuple[int, int | None]:
    """(payload size, EDNS version) when an OPT record stands first among the additional ones."""
    if offset + OPT_RECORD.size > len(packet):
        raise Malformed("additional record cut short")
    root, kind, size, ttl, length = OPT_RECORD.unpack_from(packet, offset)
    if root != 0 or kind != Type.OPT:
        return MIN_PAYLOAD, None
    if offset + OPT_RECORD.size + length > len(packet):
        raise Malformed("OPT record cut short")
    return max(MIN_PAYLOAD, size), (ttl >> 16) & 0xFF


def write_name(name: str) -> bytes:
    """A name's labels, uncompressed. `name` is ASCII without a final dot."""
    labels = (label.encode("ascii") for label in name.split("."))
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def write_record(kind: Type, ttl: int, data: bytes) -> bytes:
    """One record of the question's own name; `ttl` in seconds."""
    return RECORD.pack(NAME_POINTER, kind, CLASS_IN, ttl, len(data)) + data


def write_reply(query: Query, code: Code, records: Sequence[bytes] = (), *, limit: int, authoritative: bool) -> bytes:
    """A whole reply of at most `limit` bytes. Records that do not fit are left out and TC says so (RFC 2181 9)."""
    opt = b"" if query.edns is None else OPT_RECORD.pack(0, Type.OPT, MAX_PAYLOAD, (code >> 4) << 24, 0)
    flags = FLAG_QR | FLAG_RA | (query.flags & (OPCODE_MASK | FLAG_RD | FLAG_CD)) | (code & RCODE_MASK)
    if authoritative:
        flags |= FLAG_AA
    room = limit - HEADER.size - len(query.echo) - len(opt)
    fitting: list[bytes] = []
    for record in records:
        room -= len(record)
        if room < 0:
            flags |= FLAG_TC
            break
        fitting.append(record)
    header = HEADER.pack(query.id, flags, 1, len(fitting), 0, 1 if opt else 0)
    return b"".join((header, query.echo, *fitting, opt))


def write_error(packet: bytes, code: Code) -> bytes | None:
    """The bare header that refuses a packet which could not be read; None where even its header cannot."""
    if len(packet) < HEADER.size:
        return None
    ident, flags = struct.unpack_from("!HH", packet)
    if flags & FLAG_QR:  # Answering a reply would let two servers talk for ever.
        return None
    return HEADER.pack(ident, FLAG_QR | FLAG_RA | (flags & (OPCODE_MASK | FLAG_RD)) | (code & RCODE_MASK), 0, 0, 0, 0)


def truncated(reply: bytes, limit: int) -> bytes:
    """`reply` where it fits `limit` bytes, else its header and question alone with TC set."""
    if len(reply) <= limit:
        return reply
    ident, flags, questions, *_ = HEADER.unpack_from(reply)
    if questions != 1:
        return HEADER.pack(ident, flags | FLAG_TC, 0, 0, 0, 0)
    _, end = read_name(reply, HEADER.size)
    return HEADER.pack(ident, flags | FLAG_TC, 1, 0, 0, 0) + reply[HEADER.size : end + 4]
