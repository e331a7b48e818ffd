"""What plugging a container costs, and what the firewall costs at a thousand published ports.

    python benchmarks/network_plug.py [ROUNDS]

Needs root: it makes a network namespace of its own, which stands for the host, and containers that are threads in
namespaces of theirs. Prints medians in milliseconds; the first lines are the floor, the same veth pair made by ip(8).
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

from runtime.kernel.namespaces import CLONE_NEWNET, unshare
from runtime.layout import Layout
from runtime.network.depart import hook
from runtime.network.endpoint import ensure_endpoint
from runtime.network.firewall.observe import read_firewall
from runtime.network.firewall.publications import publish, unpublish
from runtime.network.network import ensure_network
from runtime.network.observe import read_endpoints, read_host_links
from runtime.network.records import (
    Backend,
    EndpointWanted,
    Gateway,
    NetworkWanted,
    Pool,
    Protocol,
    Publication,
    ServiceBalance,
)
from runtime.network.service import ensure_service

MANY = 1000
NETWORK = NetworkWanted(
    "bench",
    pools=(
        Pool(ip_network("10.1.0.0/16"), ip_address("10.1.0.1")),
        Pool(ip_network("fd01::/64"), ip_address("fd01::1")),
    ),
)


class Parked:
    """A thread in a network namespace of its own, which plays a container's process."""

    def __init__(self) -> None:
        self._leave, ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._park, args=(ready,))
        self._thread.start()
        ready.wait()

    def _park(self, ready: threading.Event) -> None:
        unshare(CLONE_NEWNET)
        self.tid = threading.get_native_id()
        ready.set()
        self._leave.wait()

    def leave(self) -> None:
        """End the namespace."""
        self._leave.set()
        self._thread.join()


def endpoint(number: int) -> EndpointWanted:
    """Container number `number`, with an address and a default route of each family."""
    addresses = tuple(ip_interface(f"{pool.subnet[number]}/{pool.subnet.prefixlen}") for pool in NETWORK.pools)
    gateways = tuple(Gateway(pool.gateway) for pool in NETWORK.pools if pool.gateway is not None)
    return EndpointWanted(NETWORK, f"c{number}", addresses=addresses, gateways=gateways)


def milliseconds(work: Callable[..., object], *arguments: object) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    work(*arguments)
    return (time.perf_counter() - begun) * 1000


def report(label: str, times: list[float]) -> None:
    """One line: median and tenth percentile."""
    best = statistics.quantiles(times, n=10)[0] if len(times) > 1 else times[0]
    print(f"{label:52} {statistics.median(times):8.2f} ms   (best tenth {best:.2f})")


def plug_with_ip(rounds: int) -> None:
    """The floor in programs: what scripts do, one ip(8) for each side."""
    times = []
    for number in range(2, rounds + 2):
        parked = Parked()
        times.append(milliseconds(run_ip, endpoint(number), parked.tid, number))
        parked.leave()
    report("plug with two runs of ip(8)", times)


def run_ip(wanted: EndpointWanted, tid: int, number: int) -> None:
    """Plug by ip(8)."""
    inside = ["link set lo up", "link set eth0 up", *(f"address add {one} dev eth0" for one in wanted.addresses)]
    inside += [f"route add default via {gateway.address}" for gateway in wanted.gateways]
    outside = [f"link add v{number} type veth peer name eth0 netns {tid}"]
    outside += [f"link set v{number} master {LAYOUT.link('b', 'bench')} up"]
    batch = ["ip", "-batch", "-"]
    subprocess.run(batch, input="\n".join(outside), text=True, check=True)
    enter = ["nsenter", f"--net=/proc/{tid}/ns/net", *batch]
    subprocess.run(enter, input="\n".join(inside), text=True, check=True)


def plug(rounds: int) -> None:
    """Our own way: plugging, plugging again, observing."""
    parked = [Parked() for _ in range(rounds)]
    for label in ("new (veth, 2 addresses, 2 routes)", "unchanged"):
        times = [milliseconds(ensure_endpoint, LAYOUT, endpoint(n), p.tid) for n, p in enumerate(parked, 2)]
        report(f"ensure_endpoint, {label}", times)
    links = read_host_links()
    report("read_host_links", [milliseconds(read_host_links)])
    report("read_endpoints", [milliseconds(read_endpoints, one.tid, None, links) for one in parked])
    for one in parked:
        one.leave()


def port(number: int) -> Publication:
    """Host port `number` of container number 2."""
    return Publication(f"c{number}", Protocol.TCP, number, ip_address("10.1.0.2"), 80)


def firewall(rounds: int, standing: int) -> None:
    """Publishing, balancing and reading with `standing` ports published already."""
    publish(LAYOUT, [port(10000 + number) for number in range(standing)])
    label = f"with {standing} ports"
    report(f"publish, {label}", [milliseconds(publish, LAYOUT, [port(5000 + n)]) for n in range(rounds)])
    report(f"unpublish, {label}", [milliseconds(unpublish, LAYOUT, f"c{5000 + n}") for n in range(rounds)])
    report(f"read_firewall, {label}", [milliseconds(read_firewall, LAYOUT) for _ in range(10)])
    report(f"ensure_service of n replicas, {label}", [milliseconds(balance, n) for n in range(2, 12)])


def balance(replicas: int) -> None:
    """A Service over that many replicas."""
    backends = frozenset(Backend(f"r{number}", ip_address(f"10.1.1.{number}")) for number in range(replicas))
    ensure_service(LAYOUT, NETWORK, ServiceBalance("shop", "bench", frozenset({ip_address("10.1.9.9")}), backends))


def farewell() -> None:
    """The poststop hook as a program."""
    described = hook(LAYOUT, "nobody")["args"]
    assert isinstance(described, list)
    report("the poststop hook, a process", [milliseconds(subprocess.run, described) for _ in range(10)])


def main(rounds: int) -> None:
    """Measure and print."""
    unshare(CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    report("ensure_network, the first", [milliseconds(ensure_network, LAYOUT, NETWORK)])
    report("ensure_network, unchanged", [milliseconds(ensure_network, LAYOUT, NETWORK) for _ in range(10)])
    plug_with_ip(rounds)
    plug(rounds)
    for standing in (0, MANY):
        firewall(rounds, standing)
    farewell()


if __name__ == "__main__":
    BASE = Path(tempfile.mkdtemp(prefix="tt-plug-"))
    LAYOUT = Layout(root=BASE / "root", run=BASE / "run")
    try:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
    finally:
        shutil.rmtree(BASE)
