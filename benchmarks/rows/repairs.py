"""Repairs by the loop: from the deed to the repaired state, as somebody outside sees it.

Docker's own first delay before it starts a container again is 100 ms; it repairs nothing else of these. Each deed is
done to a container with a network, a published port, a limit and a volume, among others that are left alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from benchmarks.engine import Ours, container, network, own_engine
from benchmarks.ground import Ground
from benchmarks.looped import Looped, looped
from benchmarks.records import OURS, Row, Series, Target
from benchmarks.timing import tell
from runtime.images.store import damage, read_image
from runtime.kernel import cgroup
from runtime.layout import Layout
from runtime.network.dns.process import read_dns
from runtime.network.firewall.observe import read_firewall
from runtime.network.network import read_network
from runtime.network.observe import read_endpoints
from runtime.process import client
from schemas.errors import TrimtabError

NETWORK = "rn"
COMMAND = ("sleep", "1000000")
DIGEST_LENGTH = 64
MANY, FEW = 1000, 10
ON_ONE_NETWORK = 200
"""By default a network has 253 addresses to give."""
LOOK_SECONDS, GIVE_UP_SECONDS = 0.0005, 20.0
IDLE_SECONDS = 65.0
"""One resync and a little."""
POLICY = "restart_policy: {delay: 0s}"
"""So that each deed meets the first restart of its row."""
VOLUME = """---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: rd}
spec: {driver_opts: {type: tmpfs, device: tmpfs}}
"""

Repaired = Callable[[], bool]
Deed = Callable[[], Repaired]
"""Does it; what is returned tells whether it is repaired."""


def measure(ground: Ground, rounds: int) -> list[Row]:
    with own_engine(ground) as ours:
        text = network(NETWORK) + VOLUME
        text += container("plain", COMMAND, f"networks: [{NETWORK}]", "restart: always", POLICY, "stop_signal: SIGKILL")
        text += container(
            *("db", COMMAND, f"networks: [{NETWORK}]", "restart: always", POLICY, "stop_signal: SIGKILL"),
            *("ports: ['18099:80']", "volumes: ['rd:/data']"),
        )
        ours.apply(text, "repairs")
        with looped(ours.layout) as loop:
            rows = [row(ours, loop, name, limit, deed, rounds) for name, limit, deed in deeds(ours.layout)]
        ours.delete("repairs")
        return [*rows, *idle(ours, rounds)]


def row(ours: Ours, loop: Looped, name: str, limit: float, deed: Deed, rounds: int) -> Row:
    tell(f"  {name}")
    values = tuple(once(loop, deed) for _ in range(max(5, rounds)))
    return Row("repairs", f"repaired: {name}", "ms", (Series(OURS, values),), (Target(limit),))


def once(loop: Looped, deed: Deed) -> float:
    begun = time.perf_counter()
    repaired = deed()
    while not repaired():
        if time.perf_counter() - begun > GIVE_UP_SECONDS:
            raise RuntimeError("it was not repaired")
        time.sleep(LOOK_SECONDS)
    taken = (time.perf_counter() - begun) * 1000
    loop.settle()
    time.sleep(0.05)
    return taken


def deeds(layout: Layout) -> Iterator[tuple[str, float, Deed]]:
    """Name, target in milliseconds, deed."""
    bridge, gateway = layout.link("b", NETWORK), gateway_of(layout)
    yield "init killed, restart: always", 25, lambda: kill(layout, "plain")
    yield "the same with a published port, a volume, a limit", 25, lambda: kill(layout, "db")
    yield "bridge deleted", 50, lambda: shell(f"ip link del {bridge}", lambda: has_gateway(layout, gateway))
    yield (
        *("gateway's address deleted", 50),
        lambda: shell(f"ip addr del {gateway} dev {bridge}", lambda: has_gateway(layout, gateway)),
    )
    yield "veth deleted", 50, lambda: shell(inside(layout, "ip link del eth0"), lambda: has_address(layout))
    yield (
        *("address inside deleted", 50),
        lambda: shell(inside(layout, "ip addr flush dev eth0"), lambda: has_address(layout)),
    )
    yield "nft flush ruleset", 50, lambda: shell("nft flush ruleset", lambda: has_rules(layout))
    yield "memory limit edited", 1000, lambda: edit_limit(layout)
    yield "volume unmounted", 1000, lambda: unmount(layout)
    yield "layer removed", 1000, lambda: remove_layer(layout)
    yield "DNS server killed", 1000, lambda: end_dns(layout)


def gateway_of(layout: Layout) -> str:
    found = read_network(layout, NETWORK)
    assert found is not None
    return str(next(iter(found.addresses)))


def pid(layout: Layout, name: str) -> int | None:
    """Of a container's init, while it runs."""
    process = client.read_process(layout, name)
    return process.pid if process is not None and process.phase.value == "running" else None


def inside(layout: Layout, command: str) -> str:
    """The same in the network namespace of a container with one network and nothing else."""
    return f"nsenter -t {pid(layout, 'plain')} -n {command}"


def shell(command: str, repaired: Repaired) -> Repaired:
    subprocess.run(command.split(), check=True, capture_output=True)
    return repaired


def kill(layout: Layout, name: str) -> Repaired:
    old = pid(layout, name)
    assert old is not None
    os.kill(old, signal.SIGKILL)
    return lambda: pid(layout, name) not in (old, None)


def has_gateway(layout: Layout, gateway: str) -> bool:
    now = read_network(layout, NETWORK)
    return now is not None and now.up and gateway in {str(address) for address in now.addresses}


def has_address(layout: Layout) -> bool:
    """Read in this process: a program that is started to look takes longer than some repairs."""
    running = pid(layout, "plain")
    try:
        return running is not None and any(
            address.version == 4 for endpoint in read_endpoints(running) for address in endpoint.addresses
        )
    except (TrimtabError, OSError):
        return False


def has_rules(layout: Layout) -> bool:
    firewall = read_firewall(layout)
    return firewall.whole and NETWORK in firewall.networks and any(p.container == "db" for p in firewall.publications)


def edit_limit(layout: Layout) -> Repaired:
    path = layout.cgroup("db")
    cgroup.write_limits(path, {"memory": {"limit": 32 << 20}})
    return lambda: cgroup.read_limits(path)["memory"]["limit"] == 64 << 20


def unmount(layout: Layout) -> Repaired:
    old = pid(layout, "db")
    point = layout.volumes / "rd/_data"
    subprocess.run(["umount", "-l", str(point)], check=True)
    return lambda: point.is_mount() and pid(layout, "db") not in (old, None)


def remove_layer(layout: Layout) -> Repaired:
    """Until it is unpacked again."""
    for number, layer in enumerate([path for path in layout.layers.iterdir() if len(path.name) == DIGEST_LENGTH]):
        # out of its name: to delete every file takes longer
        layer.rename(layout.root / f"removed-{number}-{time.monotonic_ns()}")

    def repaired() -> bool:
        image = read_image(layout, "busybox")
        return image is not None and damage(layout, image) is None

    return repaired


def end_dns(layout: Layout) -> Repaired:
    old = read_dns(layout).pid
    assert old is not None
    os.kill(old, signal.SIGKILL)
    return lambda: read_dns(layout).pid not in (old, None)


def idle(ours: Ours, rounds: int) -> list[Row]:
    """What an event costs beside ten containers and beside a thousand, and what the loop uses of a core meanwhile.

    Beside ten before and after, since what else the machine does changes meanwhile.
    """
    costs: dict[int, list[float]] = {FEW: [], MANY: []}
    share = 0.0
    for number in (FEW, MANY, FEW):
        tell(f"  {number} containers")
        ours.apply(many(number), "many")
        with looped(ours.layout) as loop:
            event(ours, loop)
            costs[number] += [event(ours, loop) for _ in range(3 * rounds)]
            if number == MANY:
                share = idle_share()
        ours.delete("many")
    series = tuple(Series(f"beside {number}", tuple(values)) for number, values in costs.items())
    return [
        Row(
            *("repairs", "an event (a process killed): CPU time of the loop's process", "ms", series),
            (Target(1.25, f"beside {FEW}", tool=f"beside {MANY}"),),
        ),
        Row(
            "repairs",
            f"idle beside {MANY} networked containers",
            "% of a core",
            (Series(OURS, (share,)),),
            (Target(2.0),),
        ),
    ]


def many(number: int) -> str:
    """So many containers, each on a network."""
    common = ("restart: always", POLICY, "stop_signal: SIGKILL")
    text = "".join(network(f"many{count}") for count in range(-(-number // ON_ONE_NETWORK)))
    return text + "".join(
        container(f"many{count}", COMMAND, f"networks: [many{count // ON_ONE_NETWORK}]", *common)
        for count in range(number)
    )


def event(ours: Ours, loop: Looped) -> float:
    """Milliseconds of the process's CPU time until it is repaired and nothing is left to do."""
    process = client.read_process(ours.layout, "many0")
    assert process is not None
    begun = time.process_time()
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        now = client.read_process(ours.layout, "many0")
        if now is not None and now.phase.value == "running" and now.pid != process.pid:
            break
        time.sleep(0.01)
    loop.settle()
    return (time.process_time() - begun) * 1000


def idle_share() -> float:
    time.sleep(2.0)
    begun, used = time.monotonic(), time.process_time()
    time.sleep(IDLE_SECONDS)
    return (time.process_time() - used) / (time.monotonic() - begun) * 100
