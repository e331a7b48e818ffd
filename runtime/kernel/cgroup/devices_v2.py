"""v2's devices: exactly one program attached to the cgroup, replaced in one step, read back as a policy."""

from __future__ import annotations

import os

from runtime.kernel import bpf
from runtime.kernel.cgroup.device_program import assemble, disassemble
from runtime.kernel.cgroup.devices import ALLOW_ALL, Policy

NAME = "trimtab_devices"


def write(directory: str, policy: Policy) -> None:
    """A BPF program in place of the one before (bpf(2), BPF_CGROUP_DEVICE). Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bpf.replace_device_program(fd, assemble(policy), NAME)
    finally:
        os.close(fd)


def read(directory: str) -> Policy | None:
    """What is attached; allow all where nothing is, None where it is several programs or one of a foreign form."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        numbers = bpf.attached(fd)
    finally:
        os.close(fd)
    if not numbers:
        return ALLOW_ALL
    return _program_policy(numbers[0]) if len(numbers) == 1 else None


def _program_policy(number: int) -> Policy | None:
    program = bpf.program_by_id(number)
    try:
        return disassemble(bpf.instructions_of(program))
    finally:
        os.close(program)
