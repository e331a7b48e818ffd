"""System calls newer than the machine's libseccomp, or than the profile: decided before the library's program.

Since Linux 5.1 a new call has the same number on every architecture, so the number alone is enough. What a profile
could not know about must not be "forbidden": programs try a new call and use an older one on ENOSYS alone. Pure.
Sources: the kernel's syscall tables, include/uapi/linux/bpf_common.h.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Mapping

NEWER = {
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
    "listns": 470,
}
"""Linux 6.5 to 6.19. What libseccomp knows itself is not looked up here."""
LAST_OF_OLD_NUMBERING = 423
"""From here on numbers are the same everywhere."""

LOAD_WORD, JUMP, JUMP_EQUAL, JUMP_ABOVE, JUMP_AT_LEAST, RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
NUMBER_AT, ARCHITECTURE_AT = 0, 4  # in struct seccomp_data
RETURN_ENOSYS = 0x00050000 | errno.ENOSYS
X32, X32_BIT = 0x4000003E, 0x40000000
X86_64 = 0xC000003E
WITH_OTHER_NUMBERS = 0x08
"""The low byte of MIPS, whose numbers start elsewhere."""


def prologue(actions: Mapping[int, int], architectures: Iterable[int], last_known: int | None) -> bytes:
    """Instructions that return the action of each number, ENOSYS beyond `last_known`, and else fall through."""
    # x32 calls come with x86_64's architecture and a bit in the number: they pass
    tokens = sorted(
        {X86_64 if token == X32 else token for token in architectures if token & 0xFF != WITH_OTHER_NUMBERS}
    )
    if not tokens or not (actions or last_known):
        return b""
    decisions = _decisions(actions)
    if last_known is not None:
        decisions += _instruction(JUMP_ABOVE, max(last_known, LAST_OF_OLD_NUMBERING), 0, 1)
        decisions += _instruction(RETURN, RETURN_ENOSYS)
    by_number = _instruction(LOAD_WORD, NUMBER_AT) + _unless_new(len(decisions) // 8) + decisions
    tests = [_instruction(JUMP_EQUAL, token, len(tokens) - place, 0) for place, token in enumerate(tokens)]
    other_architecture = _instruction(JUMP, len(by_number) // 8)
    return _instruction(LOAD_WORD, ARCHITECTURE_AT) + b"".join(tests) + other_architecture + by_number


def _decisions(actions: Mapping[int, int]) -> bytes:
    return b"".join(
        _instruction(JUMP_EQUAL, number, 0, 1) + _instruction(RETURN, action)
        for number, action in sorted(actions.items())
    )


def _unless_new(length: int) -> bytes:
    """Past `length` instructions for a call of the old numbering, the quick way of nearly all, and for x32."""
    old = _instruction(JUMP_ABOVE, LAST_OF_OLD_NUMBERING, 0, length + 1)
    return old + _instruction(JUMP_AT_LEAST, X32_BIT, length, 0)


def _instruction(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when_true, when_false, value)
