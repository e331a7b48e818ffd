"""A monitor's work: pass on what the container writes, answer, and write down how it ended.

Until something happens it does next to nothing, so that its memory stays its launcher's: the log is opened by the first
output, the facts are read by the first need. `requests.py` says what clients may ask.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time

from runtime.kernel import cgroup
from runtime.kernel.process import exit_status
from runtime.process import frames, handover
from runtime.process.creation import reply
from runtime.process.failure import ProcessFailed
from runtime.process.handover import Facts, Handover
from runtime.process.input import Input
from runtime.process.log_write import Log, NoLog, open_log
from runtime.process.loop import Loop
from runtime.process.output import Output
from runtime.process.paths import is_replaced
from runtime.process.reaper import killed_by
from runtime.process.records import ExitRecord, write_exit

REAP_SECONDS = 1.0


class Supervision:
    """One container under its monitor's eyes, from its program's start (or its init's failure) to its end."""

    def __init__(self, what: Handover) -> None:
        self.what = what
        self.loop = Loop()
        self.ended = False
        self.output = Output(self.loop, self._open_log)
        self.output.add_source(1, what.get(handover.STDOUT))
        self.output.add_source(2, what.get(handover.STDERR))
        self.input = Input(self.loop, self.output, what.get(handover.STDIN))
        master = what.get(handover.TERMINAL)
        if master >= 0:
            self.input.set_target(os.dup(master), is_terminal=True)
            self.output.add_source(1, master)
        for letter, descriptor in what.descriptors:
            if letter in {handover.LISTENER, handover.FEEDER}:
                self.input.add_client(socket.socket(fileno=descriptor), stdin=letter == handover.FEEDER)
        self.loop.watch(what.get(handover.PIDFD), self._on_exit)

    def _open_log(self) -> Log:
        try:
            return open_log(self.what.facts().log, self.what.get(handover.LOG_LOCK))
        except (ProcessFailed, OSError) as error:
            # the container runs: it goes on without a log
            say(self.what.facts(), f"its output is not kept: {error}")
            return NoLog()

    def run(self) -> None:
        """Until init has ended; what it wrote and how it ended is on disk then, and everybody who asked knows."""
        while not self.ended:
            self.loop.run_once()
        conclude(self.what, self.output)

    def _on_exit(self) -> None:
        self.loop.forget(self.what.get(handover.PIDFD))
        self.ended = True


def conclude(what: Handover, output: Output | None) -> None:
    """All that is left to do once init has ended; `output` is None where nobody has looked for any yet."""
    facts = what.facts()
    inner_signal = killed_by(facts.pid)
    status = _patient_status(what.get(handover.PIDFD))
    # a successor's cgroup and exit record have our paths
    replaced = is_replaced(facts.paths, what.get(handover.LOCK))
    if not replaced:
        _kill_rest(facts)
    if output is None and _has_written(what):
        output = Supervision(what).output
    if output is not None:
        output.drain()
    record = _exit_record(facts, status, inner_signal)
    if output is not None:
        output.close(frames.frame(frames.ENDED, json.dumps(record.to_message()).encode()))
    lock = what.get(handover.LOG_LOCK)
    if lock >= 0 and (output is None or output.opened is None):
        # nothing was written, so nobody else has closed it: followers may end
        os.close(lock)
    if not replaced:
        _write_down(facts, record)
    starter = what.get(handover.STARTER)
    if starter >= 0 and facts.failure is not None:
        reply(socket.socket(fileno=starter), {"failed": facts.failure.to_message()})


def _has_written(what: Handover) -> bool:
    poll = select.poll()
    for letter in (handover.STDOUT, handover.STDERR, handover.TERMINAL):
        if what.get(letter) >= 0:
            poll.register(what.get(letter), select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


def _patient_status(pidfd: int) -> int | None:
    """How init ended. Where it is somebody else's child, the kernel tells once that one has reaped it."""
    deadline = time.monotonic() + REAP_SECONDS
    status = exit_status(pidfd)
    while status is None and time.monotonic() < deadline:
        time.sleep(0.002)
        status = exit_status(pidfd)
    return status


def _kill_rest(facts: Facts) -> None:
    # the kernel has ended all others of a pid namespace; without one of its own there may be some
    with contextlib.suppress(OSError):
        if cgroup.processes(facts.paths.cgroup):
            cgroup.kill(facts.paths.cgroup)


def _exit_record(facts: Facts, status: int | None, inner_signal: int | None) -> ExitRecord:
    """`inner_signal`: what killed the program of a pid 1 of ours, which then exits as shells do."""
    code = None if status is None else os.waitstatus_to_exitcode(status)
    oom_kills = 0
    with contextlib.suppress(OSError):
        oom_kills = cgroup.oom_kills(facts.paths.cgroup)
    return ExitRecord(
        exit_code=128 - code if code is not None and code < 0 else code,
        signal=-code if code is not None and code < 0 else inner_signal,
        oom_killed=oom_kills > 0,
        started_at=facts.started_at,
        finished_at=time.time(),
        error=str(facts.failure) if facts.failure else "",
        ran=time.monotonic() - facts.began if facts.began is not None else None,
    )


def _write_down(facts: Facts, record: ExitRecord) -> None:
    try:
        write_exit(facts.paths.record, record)
    except OSError as error:
        # a full disk, or a bundle removed under us
        ended = f"signal {record.signal}" if record.signal else f"exit code {record.exit_code}"
        say(facts, f"ended with {ended}, which cannot be written down: {error.strerror}: {facts.paths.bundle}")


def say(facts: Facts, text: str) -> None:
    """One line in the launcher's log, of what somebody did to the files of a container that lives."""
    print(f"{time.strftime('%FT%TZ', time.gmtime())} container {facts.paths.name}: {text}", file=sys.stderr, flush=True)
