"""The same container on a network: bridge, address, route, DNS name, firewall. Against `docker run --rm`.

Ours twice. First the calls that make it, of a bundle that stands ready, as in the row without a network: process made,
plugged, named, run, taken away. Then all that an API server would do for such a request: manifest read, plan against a
fresh observation, records kept durably, bundle made, those calls; and the object deleted by another whole pass. Peers
are asked through their commands, as people ask them.
"""

from __future__ import annotations

from benchmarks.engine import Ours, container, network, own_engine, refresh
from benchmarks.ground import Ground
from benchmarks.peers import docker as docker_peer
from benchmarks.peers import podman as podman_peer
from benchmarks.records import OURS, Row, Target, absent
from benchmarks.timing import Sample, milliseconds, take_turns
from reconciler.desired import Desired
from reconciler.perform import plugging
from reconciler.perform.context import Context
from reconciler.reconcile import prepare
from runtime.network.dns.records import remove_records
from runtime.process import client
from schemas.names import Key, Kind

NAME, CALLED = "bench", "called"
LIMITS = ("--memory=64m", "--cpus=1", "--pids-limit=64")
PASSES = "trimtab, two whole passes"
DOCKER, DOCKER_ALONE = "docker run --rm", "docker run --rm --network none"
PODMAN, PODMAN_ALONE = "podman run --rm", "podman run --rm --network none"


def measure(ground: Ground, rounds: int) -> list[Row]:
    with own_engine(ground) as ours, docker_peer.docker(ground) as docker, podman_peer.podman(ground) as podman:
        ours.apply(network(NAME), "network")
        samples: dict[str, Sample] = {
            OURS: sample_calls(ours),
            PASSES: lambda: milliseconds(lambda: run_passes(ours)),
        }
        if docker is not None:
            docker_peer.import_busybox(docker, ground.tree)
            docker("network", "create", NAME)
            samples[DOCKER] = lambda: milliseconds(lambda: docker(*command(NAME)))
            samples[DOCKER_ALONE] = lambda: milliseconds(lambda: docker(*command("none")))
        if podman is not None:
            podman("network", "create", NAME)
            options = podman.run_options()
            samples[PODMAN] = lambda: milliseconds(lambda: podman(*command(NAME, *options)))
            samples[PODMAN_ALONE] = lambda: milliseconds(lambda: podman(*command("none", *options)))
        series = take_turns(samples, 3 * rounds)
    missing = [(name, docker_peer.why_not()) for name in (DOCKER, DOCKER_ALONE) if name not in samples]
    missing += [(name, podman_peer.why_not()) for name in (PODMAN, PODMAN_ALONE) if name not in samples]
    return [
        Row(
            "network",
            "The same with bridge, address, DNS name, nft",
            "ms",
            (*series, *absent(missing)),
            (Target(0.05, DOCKER), Target(0.05, DOCKER, tool=PASSES)),
        )
    ]


def command(network_name: str, *options: str) -> list[str]:
    return ["run", "--rm", "--name", NAME, "--network", network_name, *LIMITS, *options, "busybox", "true"]


def sample_calls(ours: Ours) -> Sample:
    text = container(CALLED, ["true"], f"networks: [{NAME}]", "state: stopped")
    ours.apply(text, CALLED)
    running = ours.asked(text.replace("state: stopped", "state: running"), CALLED)
    context = prepare(ours.engine, running).context
    want = context.desired[Key(Kind.CONTAINER, CALLED)]

    def once() -> float:
        refresh(ours.layout.container(CALLED))
        return milliseconds(lambda: run_calls(context, want))

    return once


def run_calls(context: Context, want: Desired) -> None:
    layout = context.engine.layout
    client.create(layout, CALLED)
    process = client.read_process(layout, CALLED)
    assert process is not None
    plugging.plug(context, want, process)
    plugging.name(context, want, None, process)
    plugging.expose(context, want, None)
    client.start(layout, CALLED)
    ended = client.wait(layout, CALLED, 10)
    remove_records(layout, NAME, CALLED)
    client.delete(layout, CALLED)
    assert ended.exit_code == 0, ended


def run_passes(ours: Ours) -> None:
    ours.apply(container(NAME, ["true"], f"networks: [{NAME}]"), "one")
    ended = client.wait(ours.layout, NAME, 10)
    ours.delete("one")
    assert ended.exit_code == 0, ended
