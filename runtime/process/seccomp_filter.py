"""A specification's seccomp profile as something init can install: compiled outside, kept by its hash.

Compiled by the creator; a profile seen before is read from the engine's live directory.
"""

from __future__ import annotations

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

    def to_message(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return {"program": self.program.decode("latin-1"), "flags": self.flags}

    @classmethod
    def from_message(cls, message: dict[str, Any] | None) -> Filter | None:
        """The inverse of `to_message`; None for None."""
        return cls(message["program"].encode("latin-1"), message["flags"]) if message else None

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
