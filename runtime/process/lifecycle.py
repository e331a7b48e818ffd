"""The verbs of one container's life, by its paths alone: what `client.py` and the OCI face have in common.

The truth about a process is its pid with its start time; the truth about how it ended is `exit.json`. A monitor is
asked only for what it alone can do.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
import time
from collections.abc import Iterator

from runtime.kernel import cgroup
from runtime.kernel import process as kernel_process
from runtime.process.asking import ask_monitor
from runtime.process.failure import NotRunning, ProcessFailed, step
from runtime.process.log_format import LOCK_FILE
from runtime.process.paths import VANISHED, ContainerPaths, is_locked, is_paused, open_lock, remove_live
from runtime.process.records import ExitRecord, Phase, ProcessRecord, read_exit, read_state

END_SECONDS = 10.0
"""How long the kernel may take to end what was killed, and a monitor to write down that it ended."""

FIRST_LOOK_SECONDS, SLOWEST_LOOK_SECONDS = 0.0001, 0.01
"""How often to look for the exit record of an init that has just ended: less and less often."""

LONGER = 1.1
"""From one look to the next: at most a tenth of what was waited for is waited in vain."""

NOTHING_TO_LOCK = -1

UNKNOWN_END = ExitRecord(exit_code=None, error="how it ended is unknown: its monitor was killed before it could see")


def start(paths: ContainerPaths) -> None:
    """Let init execute its program; returns once it does."""
    try:
        ask_monitor(paths, {"verb": "start"})
    except NotRunning:
        record = read_exit(paths.record)
        if record is None or not record.error:
            raise
        # init failed after an early answer, and before it was asked to start
        raise ProcessFailed(record.error, exit_code=record.exit_code) from None


def resize(paths: ContainerPaths, rows: int, columns: int) -> None:
    """Tell the container's terminal its size."""
    ask_monitor(paths, {"verb": "resize", "rows": rows, "columns": columns})


def rotate(paths: ContainerPaths, max_size: int, max_file: int) -> None:
    """Have the container's log rotated at other limits: bytes of one file, and files kept."""
    ask_monitor(paths, {"verb": "rotate", "max_size": max_size, "max_file": max_file})


def read_process(paths: ContainerPaths) -> ProcessRecord | None:
    """What is true now; None where the container never was made, or nothing of it is left."""
    state = read_state(paths.live)
    ended = read_exit(paths.record)
    if state is None:
        return _only_ended(paths, ended) if ended else None
    if ended is not None:
        return _with(state, Phase.EXITED, ended)
    if kernel_process.is_alive(state.pid, state.start_time):
        return _with(state, Phase.PAUSED) if is_paused(paths) else state
    return _with(state, Phase.EXITED, _late_exit(paths, state))


def _only_ended(paths: ContainerPaths, ended: ExitRecord) -> ProcessRecord:
    started = ended.started_at
    return ProcessRecord(paths.name, Phase.EXITED, 0, 0, started or 0.0, started, bundle=paths.bundle, exit=ended)


def _with(state: ProcessRecord, phase: Phase, ended: ExitRecord | None = None) -> ProcessRecord:
    values = {field: getattr(state, field) for field in ProcessRecord.__slots__}
    return ProcessRecord(**{**values, "phase": phase, "exit": ended})


def _late_exit(paths: ContainerPaths, state: ProcessRecord) -> ExitRecord:
    """Of an init that has gone: its monitor writes it down in a moment, unless it is gone too."""
    monitor = kernel_process.open_process(state.monitor_pid, state.monitor_start_time)
    if monitor is not None:
        try:
            deadline = time.monotonic() + END_SECONDS
            pause = FIRST_LOOK_SECONDS
            while time.monotonic() < deadline:
                record = read_exit(paths.record)
                if record is not None:
                    return record
                # usually a millisecond; a full disk leaves no record at all
                if kernel_process.wait_end(monitor, 0):
                    break
                time.sleep(pause)
                pause = min(pause * LONGER, SLOWEST_LOOK_SECONDS)
        finally:
            os.close(monitor)
    return read_exit(paths.record) or UNKNOWN_END


def wait_log_released(paths: ContainerPaths, directory: str) -> None:
    """Until a predecessor's monitor, if there is one, has written the last of its output; END_SECONDS at most.

    Mostly there is none: a deletion waits for it. Not so where somebody has removed the live directory under it. One
    that runs is not waited for: whoever would make it anew is told.
    """
    deadline = time.monotonic() + END_SECONDS
    pause = FIRST_LOOK_SECONDS
    while is_locked(f"{directory}/{LOCK_FILE}") and time.monotonic() < deadline:
        state = read_state(paths.live)
        if state is not None and kernel_process.is_alive(state.pid, state.start_time):
            return
        time.sleep(pause)
        pause = min(pause * 1.5, SLOWEST_LOOK_SECONDS)


@contextlib.contextmanager
def _vanishing() -> Iterator[None]:
    """What a monitor has removed under us needs nothing more."""
    try:
        yield
    except OSError as error:
        if error.errno not in VANISHED:
            raise


def _existing(paths: ContainerPaths, verb: str) -> ProcessRecord:
    record = read_process(paths)
    if record is None:
        raise NotRunning(f"there is no container {paths.name}", step=verb)
    return record


def wait(paths: ContainerPaths, timeout: float | None) -> ExitRecord:
    """The exit record, once the container has ended. Raises TimeoutError."""
    state = read_state(paths.live)
    if state is None:
        record = _existing(paths, "wait")
        return record.exit or UNKNOWN_END
    init = kernel_process.open_process(state.pid, state.start_time)
    if init is not None:
        try:
            if not kernel_process.wait_end(init, timeout):
                raise TimeoutError(f"{paths.name} runs on after {timeout} s")
        finally:
            os.close(init)
    return _late_exit(paths, state)


def kill(paths: ContainerPaths, signal: int, *, whole_tree: bool) -> bool:
    """Signal init, or every process of the container. False where init has ended."""
    state = read_state(paths.live)
    if state is None or not kernel_process.is_alive(state.pid, state.start_time):
        return False
    if not whole_tree:
        return kernel_process.send_signal(state.pid, state.start_time, signal)
    with step("kill", paths.cgroup), _vanishing():
        if signal == signals.SIGKILL:
            cgroup.kill(paths.cgroup)
        else:
            _signal_all(paths, signal)
    return True


def _signal_all(paths: ContainerPaths, signal: int) -> None:
    for pid in cgroup.processes(paths.cgroup):
        started = kernel_process.start_time(pid)
        if started is not None:
            kernel_process.send_signal(pid, started, signal)


def stop(paths: ContainerPaths, signal: int, grace_seconds: float) -> ExitRecord:
    """Signal, grace, then the whole tree by force."""
    record = _existing(paths, "stop")
    if record.phase is Phase.EXITED:
        return record.exit or UNKNOWN_END
    if record.phase is Phase.PAUSED:
        resume(paths)
    # an init that never started has no program to hear the signal
    if record.phase is not Phase.CREATED:
        kill(paths, signal, whole_tree=False)
        with contextlib.suppress(TimeoutError):
            return wait(paths, grace_seconds)
    return end_by_force(paths)


def end_by_force(paths: ContainerPaths) -> ExitRecord:
    """Kill every process of the container and wait for its end."""
    state = read_state(paths.live)
    with _vanishing():
        cgroup.kill(paths.cgroup)
    # init by itself too: in a cgroup it shares, or was moved out of, it is not among the killed
    if state is not None:
        kernel_process.send_signal(state.pid, state.start_time, signals.SIGKILL)
    try:
        return wait(paths, END_SECONDS)
    except NotRunning:
        # one that was still being made: its maker has seen init end, and has taken everything away
        return UNKNOWN_END


def pause(paths: ContainerPaths) -> None:
    """Freeze a running container."""
    record = _existing(paths, "pause")
    if record.phase is Phase.PAUSED:
        return
    if not record.phase.can_pause:
        raise NotRunning(f"cannot pause {paths.name}: it is {record.phase.value}", step="pause")
    with step("pause", paths.cgroup):
        cgroup.freeze(paths.cgroup)


def resume(paths: ContainerPaths) -> None:
    """Thaw a paused container."""
    record = _existing(paths, "resume")
    if record.phase is Phase.RUNNING:
        return
    if not record.phase.can_resume:
        raise NotRunning(f"cannot resume {paths.name}: it is {record.phase.value}", step="resume")
    with step("resume", paths.cgroup):
        cgroup.thaw(paths.cgroup)


def delete(paths: ContainerPaths, *, force: bool) -> None:
    """Remove what an ended container has left; with `force`, end it first."""
    record = read_process(paths)
    if record is not None and not record.phase.can_delete and not force:
        raise NotRunning(f"cannot delete {paths.name}: it is {record.phase.value}", step="delete")
    with _alone(paths, force=force):
        if force:
            _end_rest(paths)
        with step("cgroup", paths.cgroup):
            cgroup.remove(paths.cgroup, keep_engine=paths.has_launcher)
        remove_live(paths)


@contextlib.contextmanager
def _alone(paths: ContainerPaths, *, force: bool) -> Iterator[None]:
    """Hold the live directory's lock, once neither a creator nor a monitor does; with `force`, end what they hold.

    A monitor whose poststop hooks take longer is not waited for: it touches nothing then that is removed.
    """
    deadline = time.monotonic() + END_SECONDS
    pause = FIRST_LOOK_SECONDS
    lock = _try_lock(paths)
    while lock is None:
        record = read_process(paths)
        if force and record is not None and record.phase.can_kill:
            end_by_force(paths)
        if time.monotonic() > deadline:
            if record is None or record.phase is not Phase.EXITED:
                raise ProcessFailed(f"{paths.name} is still being made", step="delete")
            break
        time.sleep(pause)
        pause = min(pause * LONGER, SLOWEST_LOOK_SECONDS)
        lock = _try_lock(paths)
    try:
        yield
    finally:
        if lock is not None and lock != NOTHING_TO_LOCK:
            os.close(lock)


def _try_lock(paths: ContainerPaths) -> int | None:
    """The lock; None where somebody else holds it."""
    try:
        return open_lock(paths)
    except FileNotFoundError:
        return NOTHING_TO_LOCK


def _end_rest(paths: ContainerPaths) -> None:
    """What a killed monitor left running, or an init whose maker was killed before it was written down."""
    record = read_process(paths)
    if record is not None and record.phase.can_kill:
        end_by_force(paths)
    with _vanishing():
        cgroup.kill(paths.cgroup)
