"""A container's live state and its exit record: what is kept on disk, and the phases in their one-way order.

`state.json` lies in the live directory and is written by the monitor; `exit.json` lies in the bundle and outlives it.
The pid in a record is never believed alone: it counts only together with its start time.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Phase(Enum):
    """Steps of one attempt. They never move back: a restart is a new attempt."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"

    @property
    def can_start(self) -> bool:
        return self is Phase.CREATED

    @property
    def can_kill(self) -> bool:
        return self is not Phase.EXITED

    @property
    def can_pause(self) -> bool:
        return self is Phase.RUNNING

    @property
    def can_resume(self) -> bool:
        return self is Phase.PAUSED

    @property
    def can_exec(self) -> bool:
        return self is Phase.RUNNING

    @property
    def can_delete(self) -> bool:
        return self is Phase.EXITED


@dataclass(frozen=True, slots=True)
class Created:
    """A container's init: its pid and its start time in clock ticks since boot."""

    pid: int
    start_time: int


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a container's process ended. `exit_code` is 128 + signal after a signal, None where nobody could learn it.

    Times are seconds since the epoch; `started_at` is None where the process never ran. `ran`: seconds in which it did,
    by a clock that nobody sets and that stands still while the machine sleeps; None where nobody measured it.
    """

    exit_code: int | None
    signal: int | None = None
    oom_killed: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    error: str = ""
    ran: float | None = None

    def to_message(self) -> dict[str, Any]:
        """As JSON shapes it."""
        return {field: getattr(self, field) for field in self.__slots__}


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What is known about a container's process now. `exit` is set in the phase `EXITED` only."""

    name: str
    phase: Phase
    pid: int
    start_time: int
    created_at: float
    started_at: float | None = None
    monitor_pid: int = 0
    monitor_start_time: int = 0
    bundle: str = ""
    cgroup: str = ""
    exit: ExitRecord | None = None


def read_json(path: str) -> dict[str, Any] | None:
    """The object in a file, or None where there is no file."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    value: dict[str, Any] = json.loads(text)
    return value


def write_json(path: str, value: dict[str, Any], *, durable: bool) -> None:
    """Replace a file by temp, (fsync where `durable`) and rename."""
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, json.dumps(value).encode())
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)


def read_exit(bundle: str) -> ExitRecord | None:
    """The exit record in a bundle."""
    value = read_json(f"{bundle}/exit.json")
    return ExitRecord(**value) if value is not None else None


def write_exit(bundle: str, record: ExitRecord) -> None:
    """Keep the exit record, durably."""
    write_json(f"{bundle}/exit.json", record.to_message(), durable=True)


def read_state(live: str) -> ProcessRecord | None:
    """What the monitor wrote last, believed as it stands: not whether it is still true."""
    value = read_json(f"{live}/state.json")
    return ProcessRecord(**{**value, "phase": Phase(value["phase"])}) if value is not None else None


def write_state(live: str, record: ProcessRecord) -> None:
    """Write the live state; it lies on a tmpfs and need not be durable."""
    value = {field: getattr(record, field) for field in ProcessRecord.__slots__ if field != "exit"}
    write_json(f"{live}/state.json", {**value, "phase": record.phase.value}, durable=False)
