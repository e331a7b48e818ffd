"""A specification's seccomp profile as something init can install: compiled outside, kept by its hash.

Compiled by the creator; a profile seen before is read from the engine's live directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.kernel import seccomp
from runtime.process.failure import ProcessFailed, step


@dataclass(frozen=True, slots=True)
class Filter:
    """A BPF program and the flags of seccomp(2) to install it with."""

    program: bytes
    flags: int

    def to_descriptor(self) -> int:
        """A descriptor to read the program from: much cheaper on its way than the program as text."""
        descriptor = os.memfd_create("trimtab-seccomp")
        os.write(descriptor, self.program)
        return descriptor

    @classmethod
    def from_descriptor(cls, descriptor: int, flags: int) -> Filter:
        """The inverse of `to_descriptor`."""
        return cls(os.pread(descriptor, os.fstat(descriptor).st_size, 0), flags)

    def install(self) -> None:
        """Bind the caller to it, and all it becomes."""
        with step("seccomp"):
            seccomp.install(self.program, self.flags)


def read_filter(spec: dict[str, Any], cache: str) -> Filter | None:
    """The filter of `linux.seccomp`; None without one."""
    profile = (spec.get("linux") or {}).get("seccomp")
    if not profile:
        return None
    with step("seccomp"):
        try:
            flags = seccomp.flags_of(profile)
            program = seccomp.load(profile, Path(cache))
        except seccomp.BadProfile as error:
            raise ProcessFailed(str(error), step="seccomp") from error
    if flags & seccomp.NEW_LISTENER:
        raise ProcessFailed("SCMP_ACT_NOTIFY needs a listener, which this runtime has none of", step="seccomp")
    return Filter(program, flags)
