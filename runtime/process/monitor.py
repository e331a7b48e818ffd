"""The monitor: one process per container, parent of its init, owner of its streams, writer of its exit record.

Forked in advance, it first clones an init that waits as it does. When the container made of both runs, it is told, and
answers on the container's socket until init has ended. Nobody needs it to observe or kill a container: both work by pid
and start time. It leaves last.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable

from runtime.kernel import cgroup, namespaces, prctl
from runtime.process import farewell, handover, hooks, pair, standby
from runtime.process.cloning import Cloned, Order, clone_init, end_waiting
from runtime.process.failure import ProcessFailed, step
from runtime.process.handover import Handover
from runtime.process.init import run_init
from runtime.process.paths import is_replaced
from runtime.process.requests import serve
from runtime.process.supervision import Supervision


def run_monitor(channel: socket.socket, extra_flags: int, *, in_advance: bool) -> None:
    """Clone, take the container over from whoever is on the other side, and stay until it has ended.

    `extra_flags` of clone3(2) make init somebody else's child; `in_advance` clones the usual init at once.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    prctl.set_name("trimtab-monitor")
    what = _prepare(channel, extra_flags, in_advance=in_advance)
    channel.close()
    if what is None:
        return
    supervision = Supervision(what)
    serve(socket.socket(fileno=what.get(handover.SERVER)), supervision)
    supervision.run()
    _clean_up(what)


def _prepare(channel: socket.socket, extra_flags: int, *, in_advance: bool) -> Handover | None:
    """Clone what is asked for until the container is handed over; None where it never is."""
    cloned = None
    if not in_advance or not standby.can_wait():
        _say(channel, pair.NOTHING)
    else:
        # a kernel that refuses, user namespaces perhaps, refuses again if somebody asks for just that
        cloned = _try_clone(channel, standby.ORDER, None, extra_flags, lambda _: pair.NOTHING)
    while True:
        data, descriptors = pair.receive_raw(channel)
        if not data:
            # nobody wants them any more: when we are gone, it is gone
            if cloned is not None:
                end_waiting(cloned)
            return None
        kind = data[:1]
        if kind not in {pair.CLONE, pair.ANY_CLONE}:
            return Handover.from_datagram(data, descriptors)
        if cloned is not None:
            end_waiting(cloned)
        order = _read_order(kind, data[1:])
        cloned = _try_clone(channel, order, descriptors[0] if descriptors else None, extra_flags, _told)
        for descriptor in descriptors:
            os.close(descriptor)


def _read_order(kind: bytes, data: bytes) -> Order:
    if kind == pair.CLONE:
        return Order(pair.NUMBER.unpack(data)[0])
    message = json.loads(data)
    joins = tuple((kind, path) for kind, path in message["joins"])
    return Order(message["flags"], joins, message["clocks"], message["keep_tree"])


def _told(failure: ProcessFailed) -> bytes:
    return pair.FAILED + json.dumps(failure.to_message()).encode()


def _say(channel: socket.socket, data: bytes) -> None:
    # who is not there any more need not be told; the next look at the channel tells us
    with contextlib.suppress(OSError):
        pair.send_raw(channel, data)


def _try_clone(
    channel: socket.socket,
    order: Order,
    place: int | None,
    extra_flags: int,
    instead: Callable[[ProcessFailed], bytes],
) -> Cloned | None:
    """Clone and report an init; where that fails, say `instead`."""
    try:
        new_network = bool(order.flags & namespaces.CLONE_NEWNET)
        with step("mounts"):
            shelter = -1 if order.keep_tree else standby.make_shelter()
        cloned = clone_init(order, lambda end: run_init(end, shelter, new_network=new_network), place, extra_flags)
        if shelter >= 0:
            os.close(shelter)
    except ProcessFailed as failure:
        _say(channel, instead(failure))
        return None
    try:
        pair.send_raw(channel, pair.REPORT + pair.NUMBER.pack(cloned.pid), (cloned.pidfd, cloned.channel.fileno()))
    except OSError:
        # nobody waits for it any more, as the next look at the channel tells
        end_waiting(cloned)
        return None
    # init's end must be seen by the one at the other end alone
    cloned.channel.close()
    return cloned


def _clean_up(what: Handover) -> None:
    """After everybody knows how it ended."""
    facts = what.facts()
    lock = what.get(handover.LOCK)
    with contextlib.suppress(OSError):
        if not is_replaced(facts.paths, lock):
            cgroup.remove(facts.paths.cgroup, keep_engine=facts.paths.has_launcher)
    wants_hooks = _bid_farewell(facts.farewell)
    if wants_hooks and "poststop" in facts.hooks:
        spec = what.read_spec()
        state = hooks.oci_state(facts.paths.name, "stopped", 0, facts.paths.bundle, spec)
        hooks.run_all_hooks(spec, "poststop", state)
    with contextlib.suppress(OSError):
        if not is_replaced(facts.paths, lock):
            os.unlink(facts.paths.socket)
    # before the end of this process gives it back by itself: its memory is taken down first
    os.close(lock)


def _bid_farewell(text: str) -> bool:
    """Whether the `poststop` hooks are to run: also where the rest of the farewell cannot be read or done."""
    try:
        return farewell.bid(text)
    except (OSError, ValueError, KeyError, TypeError):
        traceback.print_exc()
        sys.stderr.flush()
        return True
