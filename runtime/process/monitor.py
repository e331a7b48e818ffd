"""The monitor: one process per container, parent of its init, owner of its streams, writer of its exit record.

Forked in advance, it first has an init cloned that waits as it does. When the container made of both runs, it is told,
and answers on the container's socket until init has ended. Nobody needs it to observe or kill a container: both work by
pid and start time. It leaves last.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from runtime.kernel import cgroup, namespaces, prctl
from runtime.process import farewell, handover, hooks, pair, standby
from runtime.process.cloning import Cloned, Order, clone_init, end_waiting
from runtime.process.failure import ProcessFailed, step
from runtime.process.handover import Handover
from runtime.process.init import run_init
from runtime.process.paths import is_replaced
from runtime.process.requests import serve
from runtime.process.supervision import Supervision, conclude

NAME = "trimtab-monitor"

WAKING = (handover.PIDFD + handover.SERVER + handover.STDOUT + handover.STDERR + handover.TERMINAL).encode()
"""Descriptors whose news a monitor has to wake up for."""

INIT = ord(handover.PIDFD)

ORDERS = pair.CLONE + pair.ANY_CLONE

BUSY = (handover.STARTER + handover.LISTENER + handover.FEEDER).encode()
"""Clients that are there already, and want something."""


class Seat:
    """What a monitor finds at its fork, made ready by its zygote: descriptors whose numbers it knows, and calls.

    What a monitor touches it has for itself, as long as its container lives. So all that has to be done before there is
    a container is done by helpers: short-lived children that share its descriptors, and nothing else.
    """

    __slots__ = ("channel", "fork", "init", "poll")

    def __init__(self) -> None:
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.init = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.fork = namespaces.light_fork(namespaces.CLONE_FILES)
        self.poll = select.poll()


def run_seated(seat: Seat, zygote: socket.socket) -> None:
    """The whole life of a monitor that a zygote has forked: as `run_monitor`, by way of helpers."""
    os.setsid()
    prctl.set_name(NAME)
    pid = os.getpid()
    helper = seat.fork()
    if helper == 0:
        _help(lambda: _take_seat(seat, zygote, pid))
    if helper < 0 or os.waitpid(helper, 0)[1]:
        # no pid and no descriptor: the launcher need not wait for them
        _say(zygote, pair.NOTHING)
        return
    data, descriptors = pair.receive_raw(seat.channel)
    if not data or data[0] in ORDERS:
        data, descriptors = _follow_orders(seat, data, descriptors)
    if data:
        _stay(seat.poll, data, descriptors)


def _follow_orders(seat: Seat, data: bytes, descriptors: list[int]) -> tuple[bytes, list[int]]:
    """The usual init is not wanted: clone others until the container is handed over, unread; no bytes if never."""
    _end_earlier(seat)
    while data[:1] == pair.CLONE:
        helper = seat.fork()
        if helper == 0:
            _help(functools.partial(_clone_seated, seat, _read_order(data[:1], data[1:]), descriptors))
        if helper < 0 or os.waitpid(helper, 0)[1]:
            return b"", []
        _close_all(descriptors)
        data, descriptors = pair.receive_raw(seat.channel)
        if not data or data[0] in ORDERS:
            _end_earlier(seat)
    # a namespace given by path is joined by a child of ours, not of a helper's
    return _clone_to_order(seat.channel, 0, data, descriptors) if data[:1] == pair.ANY_CLONE else (data, descriptors)


def _help(work: Callable[[], None]) -> NoReturn:
    """The life of a helper. What should not happen is told in the launcher's log, and the monitor sees that it did."""
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _take_seat(seat: Seat, zygote: socket.socket, pid: int) -> None:
    """In a monitor's first helper: be introduced to the launcher, and clone the usual init, to wait with us."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.dup2(theirs.fileno(), seat.channel.fileno(), inheritable=False)
    pair.send_raw(zygote, pair.NUMBER.pack(pid), (ours.fileno(),))
    for end in (ours, theirs, zygote):
        end.close()
    try:
        if not standby.can_wait():
            _say(seat.channel, pair.NOTHING)
            return
        cloned = _clone(standby.ORDER, None, namespaces.CLONE_PARENT)
    except ProcessFailed:
        # whoever wants a container orders one, and is told
        _say(seat.channel, pair.NOTHING)
        return
    os.dup2(cloned.pidfd, seat.init, inheritable=False)
    _report(seat.channel, cloned)
    os.close(cloned.pidfd)


def _clone_seated(seat: Seat, order: Order, place: list[int]) -> None:
    """In a helper: clone what is ordered as the monitor's own child, and report it."""
    cloned = _try_clone(seat.channel, order, place[0] if place else None, namespaces.CLONE_PARENT)
    if cloned is not None:
        os.dup2(cloned.pidfd, seat.init, inheritable=False)
        os.close(cloned.pidfd)


def _end_earlier(seat: Seat) -> None:
    """End the init that has waited until now, if one has."""
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(seat.init, signal.SIGKILL)
        os.waitid(os.P_PIDFD, seat.init, os.WEXITED)


def run_monitor(channel: socket.socket, extra_flags: int) -> None:
    """Clone, take the container over from whoever is on the other side, and stay until it has ended.

    `extra_flags` of clone3(2) make init somebody else's child. Whoever forks us ignores SIGTERM, has the default action
    for SIGCHLD, and has given us our name.
    """
    os.setsid()
    _say(channel, pair.NOTHING)
    data, descriptors = pair.receive_raw(channel)
    if data and data[0] in ORDERS:
        data, descriptors = _clone_to_order(channel, extra_flags, data, descriptors)
    channel.close()
    if data:
        _stay(select.poll(), data, descriptors)


def _stay(poll: select.poll, data: bytes, descriptors: list[int]) -> None:
    """What is handed over is ours, until it has ended."""
    ended = _doze(poll, data, descriptors)
    what = Handover.from_datagram(data, descriptors)
    if ended:
        conclude(what, None)
    else:
        supervision = Supervision(what)
        serve(socket.socket(fileno=what.get(handover.SERVER)), supervision)
        supervision.run()
    _clean_up(what)


def _doze(poll: select.poll, data: bytes, descriptors: list[int]) -> bool:
    """Wait for the first thing to happen, before anything is made to answer it: many a container stays silent.

    Whether it is that init has ended. `poll` is new.
    """
    init = -1
    for letter, descriptor in zip(data, descriptors, strict=False):
        if letter in BUSY:
            return False
        if letter in WAKING:
            poll.register(descriptor, select.POLLIN)
        if letter == INIT:
            init = descriptor
    return any(descriptor == init for descriptor, _ in poll.poll())


def _clone_to_order(
    channel: socket.socket, extra_flags: int, data: bytes, descriptors: list[int]
) -> tuple[bytes, list[int]]:
    """Clone what the first word orders, and what the next ones do, until the container is handed over, unread; no bytes
    where it never is.
    """
    while True:
        order = _read_order(data[:1], data[1:])
        cloned = _try_clone(channel, order, descriptors[0] if descriptors else None, extra_flags)
        _close_all(descriptors)
        data, descriptors = pair.receive_raw(channel)
        if data and data[0] not in ORDERS:
            return data, descriptors
        if cloned is not None:
            # another is wanted, or none any more
            end_waiting(cloned)
        if not data:
            return data, descriptors


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _read_order(kind: bytes, data: bytes) -> Order:
    if kind == pair.CLONE:
        return Order(pair.NUMBER.unpack(data)[0])
    message = json.loads(data)
    joins = tuple((kind, path) for kind, path in message["joins"])
    return Order(message["flags"], joins, message["clocks"], message["keep_tree"])


def _say(channel: socket.socket, data: bytes) -> None:
    # who is not there any more need not be told; the next look at the channel tells us
    with contextlib.suppress(OSError):
        pair.send_raw(channel, data)


def _try_clone(channel: socket.socket, order: Order, place: int | None, extra_flags: int) -> Cloned | None:
    """Clone and report an init; where that fails, say why."""
    try:
        cloned = _clone(order, place, extra_flags)
    except ProcessFailed as failure:
        _say(channel, pair.FAILED + json.dumps(failure.to_message()).encode())
        return None
    return cloned if _report(channel, cloned) else None


def _clone(order: Order, place: int | None, extra_flags: int) -> Cloned:
    new_network = bool(order.flags & namespaces.CLONE_NEWNET)
    with step("mounts"):
        shelter = -1 if order.keep_tree else standby.make_shelter()
    try:
        return clone_init(order, lambda end: run_init(end, shelter, new_network=new_network), place, extra_flags)
    finally:
        if shelter >= 0:
            os.close(shelter)


def _report(channel: socket.socket, cloned: Cloned) -> bool:
    """Give a new init to the other side. Where nobody is there, as the next look at the channel tells, end it."""
    try:
        pair.send_raw(channel, pair.REPORT + pair.NUMBER.pack(cloned.pid), (cloned.pidfd, cloned.channel.fileno()))
    except OSError:
        end_waiting(cloned)
        return False
    # init's end must be seen by the one at the other end alone
    cloned.channel.close()
    return True


def _clean_up(what: Handover) -> None:
    """After everybody knows how it ended."""
    facts = what.facts()
    lock = what.get(handover.LOCK)
    with contextlib.suppress(OSError):
        if not is_replaced(facts.paths, lock):
            cgroup.remove(facts.paths.cgroup, keep_engine=facts.paths.has_launcher)
    wants_hooks = _bid_farewell(facts.farewell)
    with contextlib.suppress(OSError):
        if not is_replaced(facts.paths, lock):
            os.unlink(facts.paths.socket)
    # a successor need not wait for hooks, which touch nothing that is its; nor for the end of this process, whose
    # memory is taken down first
    os.close(lock)
    if wants_hooks and "poststop" in facts.hooks:
        spec = what.read_spec()
        state = hooks.oci_state(facts.paths.name, "stopped", 0, facts.paths.bundle, spec)
        hooks.run_all_hooks(spec, "poststop", state)


def _bid_farewell(text: str) -> bool:
    """Whether the `poststop` hooks are to run: also where the rest of the farewell cannot be read or done."""
    try:
        return farewell.bid(text)
    except (OSError, ValueError, KeyError, TypeError):
        traceback.print_exc()
        sys.stderr.flush()
        return True
