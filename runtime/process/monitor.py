"""The monitor: one process per container, parent of its init, owner of its streams, writer of its exit record.

Forked in advance, it first clones an init that waits as it does. When the container made of both runs, it is told, and
answers on the container's socket until init has ended. Nobody needs it to observe or kill a container: both work by pid
and start time. It leaves last.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import traceback

from runtime.kernel import cgroup, namespaces
from runtime.process import farewell, handover, hooks, pair, standby
from runtime.process.cloning import Cloned, Order, clone_init, end_waiting
from runtime.process.failure import ProcessFailed, step
from runtime.process.handover import Handover
from runtime.process.init import run_init
from runtime.process.paths import is_replaced
from runtime.process.requests import serve
from runtime.process.standby import Stage
from runtime.process.supervision import Supervision, conclude

NAME = "trimtab-monitor"

WAKING = (handover.PIDFD + handover.SERVER + handover.STDOUT + handover.STDERR + handover.TERMINAL).encode()
"""Descriptors whose news a monitor has to wake up for."""

INIT = ord(handover.PIDFD)

ORDERS = pair.CLONE + pair.ANY_CLONE

BUSY = (handover.STARTER + handover.LISTENER + handover.FEEDER).encode()
"""Clients that are there already, and want something."""


def run_monitor(channel: socket.socket, extra_flags: int, stage: Stage | None) -> None:
    """Clone, take the container over from whoever is on the other side, and stay until it has ended.

    `extra_flags` of clone3(2) make init somebody else's child; with a `stage` the usual init is cloned at once. Whoever
    forks us ignores SIGTERM, has the default action for SIGCHLD, and has given us our name.
    """
    os.setsid()
    data, descriptors = _prepare(channel, extra_flags, stage)
    channel.close()
    if not data:
        return
    ended = _doze(data, descriptors)
    what = Handover.from_datagram(data, descriptors)
    if ended:
        conclude(what, None)
    else:
        supervision = Supervision(what)
        serve(socket.socket(fileno=what.get(handover.SERVER)), supervision)
        supervision.run()
    _clean_up(what)


def _doze(data: bytes, descriptors: list[int]) -> bool:
    """Wait for the first thing to happen, before anything is made to answer it: many a container stays silent.

    Whether it is that init has ended.
    """
    poll = select.poll()
    init = -1
    for letter, descriptor in zip(data, descriptors, strict=False):
        if letter in BUSY:
            return False
        if letter in WAKING:
            poll.register(descriptor, select.POLLIN)
        if letter == INIT:
            init = descriptor
    return any(descriptor == init for descriptor, _ in poll.poll())


def _prepare(channel: socket.socket, extra_flags: int, stage: Stage | None) -> tuple[bytes, list[int]]:
    """Clone what is asked for until the container is handed over, unread; no bytes where it never is."""
    staged = stage is not None and stage.clone(_wait_as_init)
    if not staged:
        _say(channel, pair.NOTHING)
    data, descriptors = pair.receive_raw(channel)
    if data and data[0] not in ORDERS:
        return data, descriptors
    return _clone_to_order(channel, extra_flags, data, descriptors, stage.cloned() if stage and staged else None)


def _clone_to_order(
    channel: socket.socket, extra_flags: int, data: bytes, descriptors: list[int], cloned: Cloned | None
) -> tuple[bytes, list[int]]:
    """The same where the first word is an order, or that nobody is there; `cloned` waits already."""
    while True:
        if cloned is not None:
            # another is wanted, or none any more
            end_waiting(cloned)
        if not data:
            return data, descriptors
        order = _read_order(data[:1], data[1:])
        cloned = _try_clone(channel, order, descriptors[0] if descriptors else None, extra_flags)
        for descriptor in descriptors:
            os.close(descriptor)
        data, descriptors = pair.receive_raw(channel)
        if data and data[0] not in ORDERS:
            return data, descriptors


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
        new_network = bool(order.flags & namespaces.CLONE_NEWNET)
        with step("mounts"):
            shelter = -1 if order.keep_tree else standby.make_shelter()
        cloned = clone_init(order, lambda end: run_init(end, shelter, new_network=new_network), place, extra_flags)
        if shelter >= 0:
            os.close(shelter)
    except ProcessFailed as failure:
        _say(channel, pair.FAILED + json.dumps(failure.to_message()).encode())
        return None
    return cloned if _report(channel, cloned) else None


def _wait_as_init(end: socket.socket, shelter: int) -> None:
    run_init(end, shelter, new_network=True)


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
