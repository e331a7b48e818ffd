"""The machine of `tests/machine`, for a loop to watch."""

from tests.machine.conftest import machine, own_network

__all__ = ["machine", "own_network"]
