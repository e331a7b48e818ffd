"""The BPF program that is v2's devices controller: assembled from a policy, and read back as one.

Pure: `runtime.kernel.bpf` loads and attaches. For each exception stands one block of tests that jump to the next block,
then its verdict; after all of them the default. The kernel hands a program what is asked: type, access bits, major and
minor. Sources: include/uapi/linux/bpf.h (`struct bpf_cgroup_dev_ctx`), kernel document bpf/instruction-set.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from runtime.kernel.cgroup.devices import ACCESSES, Device, Policy

INSTRUCTION = struct.Struct("<BBhi")
LOAD_WORD = 0x61  # dst = *(u32 *)(src + offset)
AND, RIGHT_SHIFT, MOVE, MOVE_REGISTER = 0x57, 0x77, 0xB7, 0xBF
JUMP_EQUAL, JUMP_NOT_EQUAL = 0x15, 0x55
EXIT = 0x95

RESULT, CONTEXT, TYPE, ACCESS, MAJOR, MINOR = range(6)
TYPES = {"b": 1, "c": 2}
ACCESS_BITS = {"m": 1, "r": 2, "w": 4}
ALL_BITS = 7


@dataclass(frozen=True, slots=True)
class Instruction:
    code: int
    target: int = 0
    source: int = 0
    offset: int = 0
    value: int = 0

    def pack(self) -> bytes:
        return INSTRUCTION.pack(self.code, self.source << 4 | self.target, self.offset, self.value)


def assemble(policy: Policy) -> bytes:
    """The program's instructions, 8 bytes each."""
    body = [instruction for device, access in policy.exceptions for instruction in _block(device, access, policy)]
    return b"".join(instruction.pack() for instruction in [*_PROLOGUE, *body, *_verdict(policy.allow)])


_PROLOGUE = (
    Instruction(LOAD_WORD, TYPE, CONTEXT, 0),
    Instruction(AND, TYPE, value=0xFFFF),
    Instruction(LOAD_WORD, ACCESS, CONTEXT, 0),
    Instruction(RIGHT_SHIFT, ACCESS, value=16),
    Instruction(LOAD_WORD, MAJOR, CONTEXT, 4),
    Instruction(LOAD_WORD, MINOR, CONTEXT, 8),
)


def _verdict(allow: bool) -> list[Instruction]:
    return [Instruction(MOVE, RESULT, value=int(allow)), Instruction(EXIT)]


def _block(device: Device, access: str, policy: Policy) -> list[Instruction]:
    tests = [Instruction(JUMP_NOT_EQUAL, TYPE, value=TYPES[device.type]), *_access_test(access, policy.allow)]
    for register, number in ((MAJOR, device.major), (MINOR, device.minor)):
        if number is not None:
            tests.append(Instruction(JUMP_NOT_EQUAL, register, value=number))
    block = [*tests, *_verdict(not policy.allow)]
    return [_aimed(instruction, len(block) - place - 1) for place, instruction in enumerate(block)]


def _access_test(access: str, denies: bool) -> list[Instruction]:
    """An exception that allows must hold all that is asked; one that denies, any of it."""
    bits = sum(ACCESS_BITS[letter] for letter in access)
    if bits == ALL_BITS:
        return []
    mask, jump = (bits, JUMP_EQUAL) if denies else (ALL_BITS & ~bits, JUMP_NOT_EQUAL)
    return [
        Instruction(MOVE_REGISTER, RESULT, ACCESS),
        Instruction(AND, RESULT, value=mask),
        Instruction(jump, RESULT, value=0),
    ]


def _aimed(instruction: Instruction, to_next_block: int) -> Instruction:
    if instruction.code not in (JUMP_EQUAL, JUMP_NOT_EQUAL):
        return instruction
    return Instruction(instruction.code, instruction.target, offset=to_next_block, value=instruction.value)


def disassemble(program: bytes) -> Policy | None:
    """The policy of which `assemble` made this program, or None for a program that is not of that form."""
    found = [_unpack(*fields) for fields in INSTRUCTION.iter_unpack(program)]
    if tuple(found[: len(_PROLOGUE)]) != _PROLOGUE:
        return None
    blocks = _split(found[len(_PROLOGUE) :])
    if not blocks or len(blocks[-1]) != 2:
        return None
    allow = bool(blocks[-1][0].value)
    exceptions = [_exception(block, allow) for block in blocks[:-1]]
    policy = Policy(allow, tuple(exception for exception in exceptions if exception))
    return policy if assemble(policy) == program else None


def _unpack(code: int, registers: int, offset: int, value: int) -> Instruction:
    return Instruction(code, registers & 15, registers >> 4, offset, value)


def _split(instructions: list[Instruction]) -> list[list[Instruction]]:
    blocks: list[list[Instruction]] = [[]]
    for instruction in instructions:
        blocks[-1].append(instruction)
        if instruction.code == EXIT:
            blocks.append([])
    return blocks[:-1]


def _exception(block: list[Instruction], denies: bool) -> tuple[Device, str] | None:
    tested = {test.target: test.value for test in block if test.code == JUMP_NOT_EQUAL and test.target != RESULT}
    types = {number: letter for letter, number in TYPES.items()}
    if tested.get(TYPE) not in types:
        return None
    masks = [test.value for test in block if test.code == AND]
    bits = ALL_BITS if not masks else masks[0] if denies else ALL_BITS & ~masks[0]
    access = "".join(letter for letter in ACCESSES if bits & ACCESS_BITS[letter])
    return Device(types[tested[TYPE]], tested.get(MAJOR), tested.get(MINOR)), access
