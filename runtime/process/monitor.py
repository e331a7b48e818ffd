"""The monitor: one process per container, parent of its init, owner of its streams, writer of its exit record.

Forked from the launcher in advance. It waits for its creator's handover, then answers on the container's socket until
init has ended. Nobody needs it to observe or kill a container: both work by pid and start time. It leaves last.
"""

from __future__ import annotations

import contextlib
import os
import socket

from runtime.kernel import cgroup, prctl
from runtime.process import handover, hooks
from runtime.process.handover import Handover, take_over
from runtime.process.loop import Loop
from runtime.process.requests import serve
from runtime.process.supervision import Supervision


def run_monitor(creator: socket.socket, child: int) -> None:
    """Take a container over from the creator on the other side, our child, and stay until it has ended."""
    prctl.set_name("trimtab-monitor")
    what = take_over(creator)
    creator.close()
    if what is None:
        return
    supervision = Supervision(what)
    if child:
        _reap_when_ended(supervision.loop, os.pidfd_open(child))
    for letter, descriptor in what.descriptors:
        if letter == handover.JOINER:
            _reap_when_ended(supervision.loop, descriptor)
    serve(socket.socket(fileno=what.get(handover.SERVER)), supervision)
    supervision.run()
    _clean_up(what)


def _reap_when_ended(loop: Loop, descriptor: int) -> None:
    """Reap the child behind a pidfd once it has ended; somebody else's is not ours to reap."""

    def on_end() -> None:
        loop.forget(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
        os.close(descriptor)

    loop.watch(descriptor, on_end)


def _clean_up(what: Handover) -> None:
    """After everybody knows how it ended."""
    facts = what.facts()
    with contextlib.suppress(OSError):
        cgroup.remove(facts.paths.cgroup, keep_engine=facts.paths.has_launcher)
    if "poststop" in facts.hooks:
        spec = what.read_spec()
        state = hooks.oci_state(facts.paths.name, "stopped", 0, facts.paths.bundle, spec)
        hooks.run_all_hooks(spec, "poststop", state)
    with contextlib.suppress(OSError):
        os.unlink(facts.paths.socket)
