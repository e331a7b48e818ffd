"""CRC-64 of ISO 3309, by arithmetic on large integers: no library at hand has it, and a loop over bytes is too slow.

Used for the record that puts a layer's tar together again (`chunked`). A message is a polynomial over GF(2), its first
bit the highest power; its remainder modulo P = x^64 + x^4 + x^3 + x + 1 is found by folding: x^64 is x^4 + x^3 + x + 1
modulo P, so x^(64k) is x^(4k) + x^(3k) + x^k + 1 where k is a power of two, and half of a message is folded onto the
other by four shifts. Bits are reflected: the lowest of an integer is the highest power.

Source: ISO 3309; Go's hash/crc64 (ISO).
"""

from __future__ import annotations

WIDTH = 64
POWERS = (0, 1, 3, 4)
"""Of x, in what x^64 is modulo P."""
_ONES = (1 << WIDTH) - 1


def crc64(piece: bytes | memoryview, before: int = 0) -> int:
    """Of what gave `before`, with `piece` after it."""
    bits = 8 * len(piece) + WIDTH
    # the checksum so far is added to the first 64 bits of what follows; so are the ones of its beginning
    return _remainder(int.from_bytes(piece, "little") ^ before ^ _ONES, bits) ^ _ONES


def _remainder(value: int, bits: int) -> int:
    while bits > WIDTH:
        factor = 1
        while 2 * factor * WIDTH < bits:
            factor *= 2
        span = factor * WIDTH
        # bits of the part that is folded: the lowest
        high = bits - span
        new = max(span, high + POWERS[-1] * factor)
        head = value & ((1 << high) - 1)
        folded = (value >> high) << (new - span)
        for power in POWERS:
            folded ^= head << (new - high - power * factor)
        value, bits = folded, new
    return value
