"""Has the server answer at 127.0.0.11:53 within containers' own network namespaces, where the host cannot be reached.

Called by the reconciler for containers on nothing but macvlan or ipvlan, and for all of them again whenever a server
was started. The sockets are made inside, by a thread that enters for a moment, and handed to the server; nothing of
ours lives in the container. They have ports of the kernel's choice, since the container may be a DNS server itself:
rules of its namespace turn 53 of that one address to them, packet by packet, without connection tracking.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from ipaddress import ip_address

from runtime.kernel import nftables
from runtime.kernel.process import is_alive, open_process
from runtime.layout import Layout
from runtime.network.dns.control import ask_status
from runtime.network.dns.handed import HAND_FILE
from runtime.network.dns.listeners import BACKLOG, IP_FREEBIND, PORT
from runtime.network.dns.record_files import INSIDE_ADDRESS, InsideRecord
from runtime.network.dns.records import forget_inside, read_inside, record_inside
from runtime.network.namespace import inside, namespace_of
from schemas.errors import RetryLater

STEP = "have the DNS server answer within the container"
TABLE = "trimtab-dns"
ANSWER_SECONDS = 3.0
ASKERS = {socket.SOCK_DGRAM: 12, socket.SOCK_STREAM: 4}
"""Sockets to ask a container's own resolvers from, per address family among these."""
_LOCK = threading.Lock()
"""The rules lead to the sockets handed over last: two who do both at once must not mix."""


def ensure_inside(layout: Layout, owner: str, pid: int, started: int, resolvers: Sequence[str] = ()) -> None:
    """The server answers within the namespace of the process `pid` as `owner`, and asks `resolvers` from there.

    Idempotent: what was handed over before is closed. Raises RetryLater, also where no server runs.
    """
    families = {ip_address(resolver).version for resolver in resolvers}
    record_inside(layout, owner, InsideRecord(pid, started, tuple(sorted(families))))
    _hand_over(layout, owner, pid, started, families)
    if (owner, pid, started) not in _served(layout):
        raise RetryLater("the DNS server has not taken the container's sockets", object=f"Container/{owner}", step=STEP)


def remove_inside(layout: Layout, owner: str) -> None:
    """It no longer does. Its rules, which lead nowhere then, end with the namespace."""
    if owner in read_inside(layout):
        forget_inside(layout, owner)
        with suppress(RetryLater):
            _send(layout, {"owner": owner}, ())


def take_up(layout: Layout) -> None:
    """For a server that was just started: every container again that another one answered within.

    One that cannot be had is observed as not answered, and tried again by its own pass.
    """
    for owner, record in read_inside(layout).items():
        if not is_alive(record.pid, record.started):
            forget_inside(layout, owner)
            continue
        with suppress(RetryLater):
            _hand_over(layout, owner, record.pid, record.started, record.asks)
    ask_status(layout.dns, ANSWER_SECONDS)


def _served(layout: Layout) -> set[tuple[str, int, int]]:
    status = ask_status(layout.dns, ANSWER_SECONDS)
    return {(owner, pid, started) for owner, pid, started in status.get("inside", ())} if status is not None else set()


def _hand_over(layout: Layout, owner: str, pid: int, started: int, families: Iterable[int]) -> None:
    process = open_process(pid, started)
    if process is None:
        raise RetryLater(f"process {pid} is gone", object=f"Container/{owner}", step=STEP)
    with _LOCK, ExitStack() as made:
        made.callback(os.close, process)
        try:
            with namespace_of(pid, started) as namespace, inside(namespace):
                udp, tcp = (made.enter_context(_bound(kind)) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
                others = [made.enter_context(socket.socket(*kind)) for kind in _kinds(families)]
                tcp.listen(BACKLOG)
                nftables.run_once(_rules(udp.getsockname()[1], tcp.getsockname()[1]))
        except OSError as error:
            raise RetryLater(str(error), object=f"Container/{owner}", step=STEP, errno=error.errno) from error
        message = {"owner": owner, "pid": pid, "started": started, "address": INSIDE_ADDRESS}
        _send(layout, message, [process, *(each.fileno() for each in (udp, tcp, *others))])


def _bound(kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        made.bind((INSIDE_ADDRESS, 0))
    except OSError:
        made.close()
        raise
    return made


def _kinds(families: Iterable[int]) -> Iterator[tuple[socket.AddressFamily, int]]:
    for version in families:
        for kind, count in ASKERS.items():
            yield from [(socket.AF_INET if version == 4 else socket.AF_INET6, kind | socket.SOCK_CLOEXEC)] * count


def _rules(udp: int, tcp: int) -> str:
    """Before any other table sees the packets. Made anew as one transaction, whatever was there."""
    ports = {"udp": udp, "tcp": tcp}
    there = "; ".join(f"ip daddr {INSIDE_ADDRESS} {p} dport {PORT} {p} dport set {own}" for p, own in ports.items())
    back = "; ".join(f"ip saddr {INSIDE_ADDRESS} {p} sport {own} {p} sport set {PORT}" for p, own in ports.items())
    return (
        f"add table ip {TABLE}; delete table ip {TABLE}; table ip {TABLE} {{\n"
        f"chain there {{ type filter hook output priority raw; {there}; }}\n"
        f"chain back {{ type filter hook input priority raw; {back}; }}\n}}"
    )


def _send(layout: Layout, message: Mapping[str, object], descriptors: Sequence[int]) -> None:
    """By the directory's descriptor, since a socket's name is limited to 107 bytes and the directory's is not."""
    try:
        directory = os.open(layout.dns, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.settimeout(ANSWER_SECONDS)
                link.connect(f"/proc/self/fd/{directory}/{HAND_FILE}")
                socket.send_fds(link, [json.dumps(message).encode()], list(descriptors))
        finally:
            os.close(directory)
    except OSError as error:
        raise RetryLater(f"the DNS server takes no sockets: {error}", step=STEP, errno=error.errno) from error
