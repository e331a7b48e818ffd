"""A small world for network tests: a host, containers and an outside machine, each a namespace of the test's own.

The "host" is a network namespace that the test's thread stays in, so that nothing here touches the machine's links or
firewall. A container is a thread parked in a namespace of its own: its thread id serves as a pid. A socket belongs to
the namespace it was made in, so one thread answers for all servers.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from runtime.kernel.namespaces import CLONE_NEWNET, unshare
from runtime.layout import Layout
from runtime.network.endpoint import ensure_endpoint
from runtime.network.namespace import inside
from runtime.network.network import ensure_network
from runtime.network.records import (
    Address,
    Driver,
    EndpointWanted,
    Gateway,
    NetworkWanted,
    Pool,
    Protocol,
    Publication,
)
from tests.conftest import SLOWER

PATIENCE = 5.0 * SLOWER
"""Seconds an answer may take on a busy machine."""
IMPATIENCE = 0.3
"""Seconds after which an answer that must not come is taken not to."""
SCTP = 132
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
KINDS = {
    Protocol.TCP: (socket.SOCK_STREAM, 0),
    Protocol.UDP: (socket.SOCK_DGRAM, 0),
    Protocol.SCTP: (socket.SOCK_STREAM, SCTP),
}


class Servers:
    """Answers at any number of sockets: who it is, and whom it sees asking."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def add(self, opened: socket.socket, name: str) -> None:
        self._selector.register(opened, selectors.EVENT_READ, name)

    def remove(self, opened: socket.socket) -> None:
        self._selector.unregister(opened)
        opened.close()

    def close(self) -> None:
        os.write(self._woken, b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake)
        os.close(self._woken)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select(0.05):  # sockets are added by another thread
                if key.fileobj == self._wake:
                    return
                assert isinstance(key.fileobj, socket.socket)
                _answer(key.fileobj, key.data)


def _answer(opened: socket.socket, name: str) -> None:
    if opened.type == socket.SOCK_DGRAM:
        _, client = opened.recvfrom(2048)
        opened.sendto(_line(name, client[0]), client)
        return
    connection, client = opened.accept()
    with connection:
        connection.sendall(_line(name, client[0]))


def _line(name: str, client: str) -> bytes:
    return f"{name} {ip_address(client)}".encode()


@dataclass
class Machine:
    """A namespace with a thread parked in it."""

    name: str
    servers: Servers
    tid: int = 0
    namespace: int = -1
    _leave: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    sockets: list[socket.socket] = field(default_factory=list)

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._park, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """End the namespace; its servers end first, since a socket holds it."""
        for opened in self.sockets:
            self.servers.remove(opened)
        self.sockets.clear()
        self._leave.set()
        if self._thread is not None:
            self._thread.join()
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1

    def _park(self, ready: threading.Event) -> None:
        unshare(CLONE_NEWNET)
        self.tid = threading.get_native_id()
        self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        ready.set()
        self._leave.wait()

    def listen(self, port: int, protocol: Protocol = Protocol.TCP, version: int = 4, address: str = "") -> None:
        with self.within():
            opened = server_socket(port, protocol, version, address)
        self.sockets.append(opened)
        self.servers.add(opened, self.name)

    def ask(
        self,
        address: Address | str,
        port: int,
        protocol: Protocol = Protocol.TCP,
        patience: float = PATIENCE,
        source: tuple[str, int] | None = None,
    ) -> str:
        """The server's answer; `refused`, `silence` or `unreachable` when there is none."""
        with self.within():
            return ask(str(address), port, protocol, patience, source)

    @contextmanager
    def within(self) -> Iterator[None]:
        with inside(self.namespace):
            yield

    def run(self, *command: str) -> str:
        with self.within():
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Host(Machine):
    """The test's own thread."""

    def __init__(self, servers: Servers) -> None:
        super().__init__("host", servers)

    @contextmanager
    def within(self) -> Iterator[None]:
        yield


def server_socket(port: int, protocol: Protocol, version: int, address: str = "") -> socket.socket:
    kind, number = KINDS[protocol]
    opened = socket.socket(FAMILIES[version], kind, number)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if version == 6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.bind((address, port))
    if kind == socket.SOCK_STREAM:
        opened.listen(64)
    return opened


def ask(address: str, port: int, protocol: Protocol, patience: float, source: tuple[str, int] | None = None) -> str:
    kind, number = KINDS[protocol]
    version = ip_address(address).version
    try:
        with socket.socket(FAMILIES[version], kind, number) as opened:
            opened.settimeout(patience)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if source is not None:
                opened.bind(source)
            opened.connect((address, port))
            if kind == socket.SOCK_DGRAM:
                opened.send(b"who?")
            return opened.recv(2048).decode() or "closed"
    except TimeoutError:
        return "silence"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except OSError as error:
        return f"unreachable: {error.strerror}"


class World:
    """Makes what a test asks for; `close` takes it all away."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.servers = Servers()
        self.host = Host(self.servers)
        self.machines: list[Machine] = []
        self.pids: dict[str, Machine] = {}

    def close(self) -> None:
        for opened in self.host.sockets:
            self.servers.remove(opened)
        for machine in self.machines:
            machine.stop()
        self.servers.close()

    def machine(self, name: str) -> Machine:
        made = Machine(name, self.servers)
        made.start()
        self.machines.append(made)
        return made

    def container(self, name: str, network: NetworkWanted, number: int, ports: tuple[int, ...] = (80,)) -> Machine:
        """A container with addresses number `number` of each of the network's pools, serving TCP and UDP at `ports`."""
        made = self.machine(name)
        ensure_endpoint(self.layout, endpoint(network, name, number), made.tid)
        for pool in network.pools:
            for port in ports:
                for protocol in (Protocol.TCP, Protocol.UDP):
                    made.listen(port, protocol, pool.subnet.version, str(pool.subnet[number]))
        return made

    def network(self, name: str = "front", number: int = 1, **options: Any) -> NetworkWanted:
        wanted = network(name, number, **options)
        ensure_network(self.layout, wanted)
        return wanted

    def outside(self, number: int = 1) -> Machine:
        """A machine on a wire to the host, which is its router: 192.0.2.1 and fd00:2::1 are the host's addresses."""
        made = self.machine(f"outside{number}")
        host, there, prefix6 = f"192.0.{number + 1}.1/24", f"192.0.{number + 1}.9/24", f"fd00:{number + 1}:"
        batch(
            f"link add up{number} type veth peer name up0 netns /proc/{os.getpid()}/task/{made.tid}/ns/net",
            f"address add {host} dev up{number}",
            f"address add {prefix6}:1/64 dev up{number} nodad",
            f"link set up{number} up",
        )
        with made.within():
            batch(
                "link set lo up",
                f"address add {there} dev up0",
                f"address add {prefix6}:9/64 dev up0 nodad",
                "link set up0 up",
                f"route add default via 192.0.{number + 1}.1",
                f"route add default via {prefix6}:1",
            )
        return made


def batch(*commands: str) -> None:
    """Commands of ip(8), in the calling thread's namespace."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def network(name: str = "front", number: int = 1, **options: Any) -> NetworkWanted:
    """A bridge network of 10.<number>.0.0/24 and fd01:<number>::/64."""
    pools = (
        Pool(ip_network(f"10.{number}.0.0/24"), ip_address(f"10.{number}.0.1")),
        Pool(ip_network(f"fd01:{number}::/64"), ip_address(f"fd01:{number}::1")),
    )
    return NetworkWanted(name, **{"pools": pools, **options})


def endpoint(network: NetworkWanted, name: str, number: int, **options: Any) -> EndpointWanted:
    addresses = tuple(ip_interface(f"{pool.subnet[number]}/{pool.subnet.prefixlen}") for pool in network.pools)
    gateways = () if network.internal else tuple(Gateway(pool.gateway) for pool in network.pools if pool.gateway)
    if network.driver is not Driver.BRIDGE:
        gateways = ()
    return EndpointWanted(
        network,
        name,
        **{"addresses": addresses, "gateways": gateways, **options},
    )


def address(network: NetworkWanted, version: int, number: int) -> Address:
    """Address number `number` of the network's pool of that IP version."""
    return next(pool.subnet[number] for pool in network.pools if pool.subnet.version == version)


def publication(
    network: NetworkWanted, version: int, number: int, container: str = "web", **options: Any
) -> Publication:
    """Host port 8080 to port 80 of the container with that number."""
    values: dict[str, Any] = {"protocol": Protocol.TCP, "host_port": 8080, "container_port": 80, **options}
    return Publication(container=container, address=address(network, version, number), **values)


def bridge_calls_iptables(on: bool) -> None:
    """br_netfilter's switches, of the calling thread's namespace."""
    for name in ("iptables", "ip6tables"):
        switch = Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}")
        if switch.exists():
            switch.write_text("1" if on else "0")
