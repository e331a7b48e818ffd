"""Sockets of other network namespaces: taken, served as their owner's, closed with the process they came with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel.namespaces import CLONE_NEWNET, open_namespace, setns
from runtime.kernel.process import start_time
from runtime.layout import Layout
from runtime.network.dns.handed import HAND_FILE
from runtime.network.dns.inside import ensure_inside, remove_inside
from runtime.network.dns.process import ensure_dns, read_dns, stop_dns
from runtime.network.dns.record_files import OwnerRecords
from runtime.network.dns.records import ensure_listen, ensure_records, read_inside
from runtime.network.dns.zone import Names, Zone
from schemas.errors import RetryLater
from tests.dns.conftest import answers, code_of, eventually, query

HERE = "127.0.0.11"


def zones() -> Names:
    names = Names(lambda found: None)
    for number, (network, internal) in enumerate((("lan", False), ("closed", True)), 1):
        zone = names.zones[network] = Zone(network)
        zone.set_network((), internal, (f"10.{number}.0.0/24",))
        zone.put(f"in-{network}", OwnerRecords((f"in-{network}",), (f"10.{number}.0.2",)))
    return names


def test_an_owner_sees_the_names_of_its_own_networks() -> None:
    view = zones().own_view("in-lan")
    assert view.addresses_of("in-lan") == ["10.1.0.2"]
    assert view.addresses_of("in-closed") is None
    assert view.forwards


def test_an_owner_without_records_sees_nothing_and_nothing_is_forwarded_for_it() -> None:
    view = zones().own_view("stranger")
    assert (view.addresses_of("in-lan"), view.forwards) == (None, False)


def test_on_internal_networks_only_resolvers_of_the_containers_own_are_asked() -> None:
    names = zones()
    assert not names.own_view("in-closed").forwards
    names.zones["closed"].put("in-closed", OwnerRecords(("in-closed",), ("10.2.0.2",), ("10.2.0.9",)))
    names.forget_views()
    view = names.own_view("in-closed")
    assert (view.forwards, view.resolvers) == (True, ("10.2.0.9",))


@pytest.fixture
def other() -> Iterator[tuple[int, int]]:
    """Pid and start time of a process in a network namespace of its own."""
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        started = start_time(process.pid)
        assert started is not None
        try:
            yield process.pid, started
        finally:
            process.kill()


def ask_within(pid: int, name: str, *, tcp: bool = False) -> list[str]:
    home, there = open_namespace("thread-self", "network"), open_namespace(pid, "network")
    try:
        setns(there, CLONE_NEWNET)
        reply = query(name, at=HERE, tcp=tcp)
        return answers(reply) or [code_of(reply)]
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


def record(layout: Layout) -> None:
    ensure_listen(layout, "lan", (), subnets=["10.1.0.0/24"])
    ensure_records(layout, "lan", "lone", ["lone"], ["10.1.0.2"])


@pytest.mark.kernel
def test_a_namespace_is_answered_in_until_its_process_ends(server: Layout, other: tuple[int, int]) -> None:
    record(server)
    ensure_inside(server, "lone", *other)
    ensure_inside(server, "lone", *other)
    assert ask_within(other[0], "lone") == ["10.1.0.2"] == ask_within(other[0], "lone", tcp=True)
    assert ask_within(other[0], "alien") == ["NXDOMAIN"]
    os.kill(other[0], 9)
    assert eventually(lambda: not read_dns(server).inside)


@pytest.mark.kernel
def test_the_next_server_takes_up_what_the_records_say_and_the_process_still_is(
    server: Layout, other: tuple[int, int], resolv_conf: Path
) -> None:
    record(server)
    ensure_inside(server, "lone", *other, resolvers=["192.0.2.1", "fd00::1"])
    ensure_inside(server, "gone", *other)
    stop_dns(server)
    path = server.dns / "networks/@inside/gone"
    path.write_text(json.dumps({"pid": other[0], "started": other[1] + 1, "asks": []}))
    assert ensure_dns(server, resolv_conf)
    assert read_dns(server).inside == {"lone": other}
    assert set(read_inside(server)) == {"lone"}
    assert ask_within(other[0], "lone") == ["10.1.0.2"]


@pytest.mark.kernel
def test_without_a_server_or_a_process_it_is_told(layout: Layout, other: tuple[int, int], netns: None) -> None:
    with pytest.raises(RetryLater, match="takes no sockets"):
        ensure_inside(layout, "lone", *other)
    with pytest.raises(RetryLater, match="is gone"):
        ensure_inside(layout, "lone", other[0], other[1] + 1)
    remove_inside(layout, "lone")
    assert read_inside(layout) == {}


@pytest.mark.kernel
def test_a_message_that_is_none_costs_the_server_nothing(server: Layout, other: tuple[int, int]) -> None:
    record(server)
    ensure_inside(server, "lone", *other)
    files = Path(f"/proc/{read_dns(server).pid}/fd")
    before = len(list(files.iterdir()))
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        for message in (b"{", b"[]", b'{"owner": "x"}', b'{"owner": "x", "pid": 1, "started": 1, "address": "a"}'):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
                link.connect(str(server.dns / HAND_FILE))
                socket.send_fds(link, [message], [null] * 4)
    finally:
        os.close(null)
    assert read_dns(server).inside == {"lone": other}
    assert eventually(lambda: len(list(files.iterdir())) == before)
    assert ask_within(other[0], "lone") == ["10.1.0.2"]
