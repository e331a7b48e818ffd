"""Who a process is, and that it is gone once it is."""

from __future__ import annotations

import os
import signal

import pytest

from runtime.kernel import process

pytestmark = [pytest.mark.kernel, pytest.mark.vm]


def test_a_process_with_its_start_time_has_a_descriptor_and_another_one_has_not() -> None:
    started = process.start_time(os.getpid())
    assert started is not None
    descriptor = process.open_process(os.getpid(), started)
    assert descriptor is not None
    os.close(descriptor)
    assert process.open_process(os.getpid(), started + 1) is None


def test_a_pid_that_is_only_a_sessions_yet_is_gone() -> None:
    leader, started, member = leader_that_leaves_a_member_behind()
    try:
        assert os.getsid(member) == leader
        with pytest.raises(ProcessLookupError):
            process.pidfd_open(leader)
        assert process.open_process(leader, started) is None
        assert process.send_signal(leader, started, signal.SIGTERM) is False
    finally:
        os.kill(member, signal.SIGKILL)


def leader_that_leaves_a_member_behind() -> tuple[int, int, int]:
    """A leader of a session, ended and reaped; its start time; and a process that is in that session still."""
    reader, writer = os.pipe()
    leader = os.fork()
    if leader == 0:
        os.setsid()
        member = os.fork()
        if member == 0:
            signal.pause()
            os._exit(0)
        os.write(writer, f"{process.start_time(os.getpid())} {member}\n".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        started, member_pid = told.readline().split()
    os.waitpid(leader, 0)
    return leader, int(started), int(member_pid)
