"""bpf(2), as far as cgroup device programs need it: load, attach or replace, ask what is attached, read it back.

Called by the cgroup package. Decides no policy. Source: bpf(2), include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from runtime.kernel import libc

PROG_LOAD, PROG_ATTACH, PROG_DETACH, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY = 5, 8, 9, 13, 15, 16
PROG_TYPE_CGROUP_DEVICE = 15
ATTACH_CGROUP_DEVICE = 6
F_ALLOW_MULTI, F_REPLACE = 2, 4
MOST_PROGRAMS = 64
"""The kernel attaches no more to one cgroup (BPF_CGROUP_MAX_PROGS)."""
MOST_INSTRUCTION_BYTES = 4096 * 8 * 4
_NUMBER = 321 if os.uname().machine == "x86_64" else 280
_bpf = libc.system_call(_NUMBER, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)


def bpf(command: int, attribute: ctypes.Array[ctypes.c_char]) -> int:
    """Raises OSError."""
    return _bpf(command, attribute, ctypes.sizeof(attribute))


def load_device_program(instructions: bytes, name: str) -> int:
    """A file descriptor of a loaded program; `name` is at most 15 letters, digits and underscores."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    head = (PROG_TYPE_CGROUP_DEVICE, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    attribute = struct.pack("=IIQQIIQII16sII", *head, 0, 0, 0, 0, 0, name.encode(), 0, ATTACH_CGROUP_DEVICE)
    return bpf(PROG_LOAD, ctypes.create_string_buffer(attribute, len(attribute)))


def attached(cgroup_fd: int) -> list[int]:
    """Ids of the device programs attached to this cgroup itself."""
    ids = (ctypes.c_uint32 * MOST_PROGRAMS)()
    attribute = struct.pack("=IIIIQI", cgroup_fd, ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), MOST_PROGRAMS)
    buffer = ctypes.create_string_buffer(attribute, 64)
    bpf(PROG_QUERY, buffer)
    (count,) = struct.unpack_from("=I", buffer.raw, 24)
    return list(ids[:count])


def program_by_id(number: int) -> int:
    """A file descriptor of a loaded program. Raises FileNotFoundError when it went away."""
    return bpf(PROG_GET_FD_BY_ID, ctypes.create_string_buffer(struct.pack("=III", number, 0, 0), 12))


def instructions_of(program_fd: int) -> bytes:
    """The program as the verifier left it. Needs CAP_BPF; empty where the kernel hides it."""
    code = ctypes.create_string_buffer(MOST_INSTRUCTION_BYTES)
    info = ctypes.create_string_buffer(
        struct.pack("=II8sIIQQ", 0, 0, b"", 0, len(code), 0, ctypes.addressof(code)), 128
    )
    attribute = struct.pack("=IIQ", program_fd, len(info), ctypes.addressof(info))
    bpf(OBJ_GET_INFO_BY_FD, ctypes.create_string_buffer(attribute, len(attribute)))
    (length,) = struct.unpack_from("=I", info.raw, 20)
    return code.raw[: min(length, len(code))]


def attach(cgroup_fd: int, program_fd: int, replaced_fd: int = -1) -> None:
    """Attach beside what is there, or in one step in place of `replaced_fd`."""
    flags = F_ALLOW_MULTI | (F_REPLACE if replaced_fd >= 0 else 0)
    values = (cgroup_fd, program_fd, ATTACH_CGROUP_DEVICE, flags, max(replaced_fd, 0))
    attribute = struct.pack("=IIIII", *values)
    bpf(PROG_ATTACH, ctypes.create_string_buffer(attribute, len(attribute)))


def detach(cgroup_fd: int, program_fd: int) -> None:
    """A program that is not attached any more is no error."""
    attribute = struct.pack("=III", cgroup_fd, program_fd, ATTACH_CGROUP_DEVICE)
    try:
        bpf(PROG_DETACH, ctypes.create_string_buffer(attribute, len(attribute)))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def replace_device_program(cgroup_fd: int, instructions: bytes, name: str) -> None:
    """Leave exactly this one attached. At no moment is the cgroup without a program it had."""
    program = load_device_program(instructions, name)
    try:
        old = [program_by_id(number) for number in attached(cgroup_fd)]
        try:
            attach(cgroup_fd, program, old[0] if old else -1)
            for extra in old[1:]:
                detach(cgroup_fd, extra)
        finally:
            for fd in old:
                os.close(fd)
    finally:
        os.close(program)
