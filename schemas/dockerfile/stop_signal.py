"""STOPSIGNAL's signal, read only where there is one: the module that knows signals is heavy to import.

Called by the reader of instructions, and again when variables are known.
"""

from __future__ import annotations

from schemas.dockerfile.faults import Fault


def read_stop_signal(text: str, offset: int = 0) -> str:
    """`term`, `SIGTERM`, `15` -> `SIGTERM`. Raises Fault."""
    from schemas.kernel_words import read_signal

    try:
        return read_signal(text)
    except ValueError as error:
        raise Fault(str(error), "", offset) from None
