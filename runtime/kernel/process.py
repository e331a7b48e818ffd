"""Who a process is: its start time, whether it lives, its descriptor, and a signal that cannot hit a stranger.

A pid alone is reused; a pid with its start time (field 22 of /proc/PID/stat, in clock ticks since boot) is not. The
kernel tells it by CLOCK_BOOTTIME as the reader's time namespace has it (time_namespaces(7)); here it is the machine's,
so that it means the same to whoever reads it later. Nobody sets that clock, and it goes on while the machine sleeps.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import time
from functools import cache

from runtime.kernel import libc

PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3

TICKS = os.sysconf("SC_CLK_TCK")
NANOSECONDS = 1_000_000_000
READ_BYTES = 4096
MAX_DESCRIPTOR = 0xFFFFFFFF
PF_EXITING = 0x4
"""Of the flags in /proc/PID/stat (include/linux/sched.h): it gives up what it holds, its namespaces among it."""

_close_range = libc.system_call(436, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of `pid`; None where there is no such process or only its zombie."""
    fields = _stat(pid)
    return _started(fields) if fields else None


def _stat(pid: int) -> list[bytes]:
    """From the state on (field 3 of proc_pid_stat(5)); empty where there is no such process or only its zombie."""
    try:
        text = read_of(pid, "stat")
    except (FileNotFoundError, ProcessLookupError):
        return []
    # the command's name stands in brackets and may hold anything, brackets too
    fields = text[text.rindex(b")") + 2 :].split()
    return [] if fields[0] in {b"Z", b"X"} else fields


def _started(fields: list[bytes]) -> int:
    return int(fields[19]) - _offset() * TICKS // NANOSECONDS


def has_ended(pid: int, started: int, seconds: float) -> bool:
    """Whether the process is gone, only its zombie is left, or it is just ending, waited for `seconds` at most.

    One that is ending shows no namespaces any more, and is no zombie yet.
    """
    deadline = time.monotonic() + seconds
    while (fields := _stat(pid)) and _started(fields) == started:
        if not int(fields[6]) & PF_EXITING or time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def age(started: int) -> float:
    """Seconds since the start time `started`, those in which the machine slept among them."""
    return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - _offset()) / NANOSECONDS - started / TICKS


@cache
def _offset() -> int:
    """Nanoseconds by which CLOCK_BOOTTIME is ahead in the time namespace of this process; it has one for life."""
    try:
        text = read_of(os.getpid(), "timens_offsets").decode()
    except FileNotFoundError:
        # a kernel without time namespaces
        return 0
    seconds, nanoseconds = next(line.split()[1:] for line in text.splitlines() if line.startswith("boottime"))
    return int(seconds) * NANOSECONDS + int(nanoseconds)


def read_of(pid: int, name: str) -> bytes:
    """A file of /proc/PID, whole (proc(5)). Raises OSError.

    A buffered file costs three times as much, and each container is asked for several.
    """
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = b""
        while part := os.read(descriptor, READ_BYTES):
            text += part
        return text
    finally:
        os.close(descriptor)


def is_alive(pid: int, started: int) -> bool:
    """Whether the process `pid` that started at `started` still runs."""
    return start_time(pid) == started


def pidfd_open(pid: int) -> int:
    """pidfd_open(2). ProcessLookupError once the process is gone."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # so older kernels name a pid that has no process but is a session's or a group's yet, and one being reaped
        if error.errno == errno.EINVAL:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
        raise


def open_process(pid: int, started: int) -> int | None:
    """A pidfd of the process `pid` that started at `started`; None once it is gone."""
    try:
        descriptor = pidfd_open(pid)
    except ProcessLookupError:
        return None
    # looked at after opening: a pid reused before shows another start time, one reused after cannot hurt
    if start_time(pid) == started:
        return descriptor
    os.close(descriptor)
    return None


def send_signal(pid: int, started: int, number: int) -> bool:
    """Signal exactly that process; False where it is gone."""
    descriptor = open_process(pid, started)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def wait_end(descriptor: int, timeout: float | None) -> bool:
    """Wait until the process behind a pidfd has ended, at most `timeout` seconds; whether it has."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0, int(timeout * 1000))))


def exit_status(descriptor: int) -> int | None:
    """The wait status (wait(2)) of the ended process behind a pidfd, which is reaped if it is our child.

    Of a stranger the kernel tells since Linux 6.14 (PIDFD_GET_INFO); None where it does not.
    """
    try:
        ended = os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
    except ChildProcessError:
        return _stranger_status(descriptor)
    if ended is None:
        return None
    return ended.si_status << 8 if ended.si_code == os.CLD_EXITED else ended.si_status


def _stranger_status(descriptor: int) -> int | None:
    info = (ctypes.c_uint64 * 8)(PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(descriptor, PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not info[0] & PIDFD_INFO_EXIT:
        return None
    return ctypes.c_int32(info[7] >> 32).value


def close_range(first: int, last: int = MAX_DESCRIPTOR) -> None:
    """close_range(2): close every descriptor from `first` to `last`."""
    _close_range(first, last, 0)


def close_all_but(*kept: int) -> None:
    """Close every descriptor above the standard streams but these."""
    first = 3
    for descriptor in sorted(kept):
        if first < descriptor:
            close_range(first, descriptor - 1)
        first = max(first, descriptor + 1)
    close_range(first)
