"""Rules for devices: reduced to a policy, assembled into a BPF program, and what that program decides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.kernel.cgroup import device_program
from runtime.kernel.cgroup.device_program import ACCESS_BITS, INSTRUCTION, TYPES, assemble, disassemble
from runtime.kernel.cgroup.devices import (
    ALLOW_ALL,
    ALWAYS_ALLOWED,
    Device,
    Policy,
    container_policy,
    parse_v1,
    policy_of,
    rules_of,
    v1_text,
)
from runtime.kernel.cgroup.files import BadResources

FUSE = Device("c", 10, 229)
DENY_ALL = {"allow": False, "access": "rwm"}

numbers = st.one_of(st.none(), st.integers(0, 300))
exceptions = st.dictionaries(
    st.builds(Device, st.sampled_from("bc"), numbers, numbers),
    st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"]),
    max_size=6,
)
policies = st.builds(
    lambda allow, found: Policy(allow, tuple(sorted(found.items(), key=lambda item: item[0].sort_key()))),
    st.booleans(),
    exceptions,
)


def allow(**rule: Any) -> dict[str, Any]:
    return {"allow": True, **rule}


def test_a_rule_adds_to_what_is_denied_by_default() -> None:
    rules = [
        DENY_ALL,
        allow(type="c", major=10, minor=229, access="r"),
        allow(type="c", major=10, minor=229, access="w"),
    ]
    assert policy_of(rules) == Policy(False, ((FUSE, "rw"),))


def test_a_later_rule_takes_back_an_earlier_one() -> None:
    rules = [allow(type="c", major=10, minor=229, access="rwm"), {**DENY_ALL, "type": "c", "major": 10, "minor": 229}]
    assert policy_of(rules) == Policy(False)
    rules[1]["access"] = "m"
    assert policy_of(rules) == Policy(False, ((FUSE, "rw"),))


def test_a_rule_for_all_forgets_what_came_before() -> None:
    assert policy_of([allow(type="c", major=10, minor=229, access="r"), allow(access="rwm")]) == ALLOW_ALL


def test_a_denial_that_v1_could_not_express_is_refused() -> None:
    rules = [
        allow(type="c", major=10, access="rw"),
        {"allow": False, "type": "c", "major": 10, "minor": 5, "access": "w"},
    ]
    with pytest.raises(BadResources, match="cannot take back a part"):
        policy_of(rules)


@pytest.mark.parametrize(
    "rule", [allow(type="x", access="r"), allow(type="c", access="z"), allow(type="a", major=3), allow(access="r")]
)
def test_a_senseless_rule_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(BadResources, match="devices:"):
        policy_of([rule])


def test_a_container_has_the_devices_that_all_have() -> None:
    assert set(container_policy([]).exceptions) == set(ALWAYS_ALLOWED)
    assert container_policy([allow(access="rwm")]) == ALLOW_ALL


def test_none_of_what_all_have_opens_a_disk_or_memory() -> None:
    opened = {device for device, access in ALWAYS_ALLOWED if access != "m"}
    assert {device.type for device in opened} == {"c"}
    assert Device("c", 1, 1) not in opened  # /dev/mem
    assert all(device.major in (1, 5, 136) for device in opened)


@given(policies)
def test_rules_of_a_policy_give_that_policy_again(policy: Policy) -> None:
    assert policy_of(rules_of(policy)) == policy


@given(policies)
def test_the_v1_list_of_a_policy_reads_as_that_policy(policy: Policy) -> None:
    text = "\n".join(v1_text(device, access) for device, access in policy.exceptions)
    assert parse_v1(text) == Policy(False, policy.exceptions)


@given(policies)
def test_a_program_is_read_back_as_its_policy(policy: Policy) -> None:
    assert disassemble(assemble(policy)) == policy


def test_a_foreign_program_is_not_taken_for_a_policy() -> None:
    assert disassemble(b"") is None
    assert disassemble(INSTRUCTION.pack(0xB7, 0, 0, 1) + INSTRUCTION.pack(0x95, 0, 0, 0)) is None
    changed = bytearray(assemble(container_policy([])))
    changed[-12] ^= 1  # the default's verdict stays readable, a jump does not
    changed[6 * 8 + 2] ^= 1
    assert disassemble(bytes(changed)) is None


@given(
    policies,
    st.sampled_from("bc"),
    st.integers(0, 300),
    st.integers(0, 300),
    st.sampled_from([("r",), ("w",), ("m",), ("r", "w")]),
)
def test_a_program_decides_as_its_policy_says(
    policy: Policy, kind: str, major: int, minor: int, access: tuple[str, ...]
) -> None:
    bits = sum(ACCESS_BITS[letter] for letter in access)
    context = [TYPES[kind] | bits << 16, major, minor]
    assert run(assemble(policy), context) == decide(policy, Device(kind, major, minor), set(access))


def decide(policy: Policy, device: Device, access: set[str]) -> bool:
    """As the v1 controller does (kernel document cgroup-v1/devices)."""
    held = [set(letters) for exception, letters in policy.exceptions if exception.covers(device)]
    if policy.allow:
        return not any(letters & access for letters in held)
    return any(access <= letters for letters in held)


def run(program: bytes, context: list[int]) -> bool:
    """The few BPF instructions that device programs are made of."""
    code = list(INSTRUCTION.iter_unpack(program))
    registers, place = [0] * 11, 0
    while True:
        operation, pair, offset, value = code[place]
        target, source = pair & 15, pair >> 4
        place += 1
        match operation:
            case device_program.LOAD_WORD:
                registers[target] = context[offset // 4]
            case device_program.AND:
                registers[target] &= value
            case device_program.RIGHT_SHIFT:
                registers[target] >>= value
            case device_program.MOVE:
                registers[target] = value
            case device_program.MOVE_REGISTER:
                registers[target] = registers[source]
            case device_program.JUMP_EQUAL:
                place += offset if registers[target] == value else 0
            case device_program.JUMP_NOT_EQUAL:
                place += offset if registers[target] != value else 0
            case device_program.EXIT:
                return bool(registers[0])
            case _:
                raise AssertionError(operation)
