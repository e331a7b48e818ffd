"""One container without a network: made, its program executed and ended, taken away. Against the C floor and runc.

Ours goes through `runtime.process.client`, as every start of the engine does, with a user namespace of its own,
id-mapped layers, limits, devices, seccomp, log and exit record. Bundles stand ready on all sides, as runc wants it;
what a container leaves in its writable layer is removed outside the measured time.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.engine import Ours, container, own_engine, refresh
from benchmarks.floor import PLAIN, WITH_NETWORK, floor
from benchmarks.ground import Ground
from benchmarks.peers import runc
from benchmarks.records import OURS, Row, Target, absent
from benchmarks.timing import Sample, milliseconds, take_turns
from runtime.process import client

NAME = "alone"
NEEDED_ROUNDS = 30


def measure(ground: Ground, rounds: int) -> list[Row]:
    with own_engine(ground) as ours, floor(ground) as floors:
        ours.apply(container(NAME, ["true"], "network_mode: none", "state: stopped"))
        bundle = ours.layout.container(NAME)
        samples = {OURS: own_sample(ours, bundle), **floors}
        if not (reason := runc.why_not()):
            samples |= runc.samples(ground, json.loads((bundle / "config.json").read_text()))
        series = take_turns(samples, rounds * NEEDED_ROUNDS // 5)
    missing = [(name, "no C compiler") for name in (PLAIN, WITH_NETWORK) if name not in samples]
    missing += [(name, reason) for name in (runc.RUN, runc.RUN_USER) if reason]
    return [
        Row(
            "container",
            "One container, no network: create, exec, exit, remove",
            "ms",
            (*series, *absent(missing)),
            (Target(5, WITH_NETWORK), Target(0.4, runc.RUN)),
        )
    ]


def own_sample(ours: Ours, bundle: Path) -> Sample:
    def once() -> float:
        refresh(bundle)
        return milliseconds(lambda: run_once(ours))

    return once


def run_once(ours: Ours) -> None:
    client.create(ours.layout, NAME)
    client.start(ours.layout, NAME)
    ended = client.wait(ours.layout, NAME, 10)
    client.delete(ours.layout, NAME)
    assert ended.exit_code == 0, ended
