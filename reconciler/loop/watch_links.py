"""Changes of links, addresses and routes, ours on the host and those inside the containers: whose they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from runtime.layout import Layout
from runtime.network.netlink import route_socket
from runtime.network.notices import Notice, Overrun, namespace_number, open_notices, read_notices
from runtime.network.records import Address
from schemas.names import Key, Kind


class LinkChanges:
    """Made and used in one event loop, in the network namespace of the host."""

    def __init__(
        self, layout: Layout, mark: Callable[[Iterable[Key], str], None], mark_all: Callable[[str], None]
    ) -> None:
        self._layout = layout
        self._mark = mark
        self._mark_all = mark_all
        self._bridges: dict[str, Key] = {}
        self._indexes: dict[int, Key] = {}
        self._services: Mapping[tuple[str, Address], Key] = {}
        self._containers: dict[int, Key] = {}
        self._numbers: dict[Key, int] = {}
        self._socket = open_notices()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def know_networks(self, networks: Iterable[Key]) -> None:
        """Whose bridges these are."""
        self._bridges = {self._layout.link("b", key.name): key for key in networks}

    def know_services(self, services: Mapping[tuple[str, Address], Key]) -> None:
        """Whose virtual address it is, by network and address."""
        self._services = services

    def know_container(self, key: Key, number: int | None) -> None:
        """By which number notices name the container's network namespace."""
        old = self._numbers.pop(key, None)
        if old is not None and self._containers.get(old) == key:
            del self._containers[old]
        if number is not None:
            self._numbers[key] = number
            self._containers[number] = key

    def _read(self) -> None:
        found: dict[Key, str] = {}
        try:
            for notice in read_notices(self._socket):
                key = self._whose(notice)
                if key is not None:
                    found.setdefault(key, notice.kind)
                if key is not None and notice.lost is not None:
                    service = self._services.get((key.name, notice.lost))
                    found |= {service: notice.kind} if service is not None else {}
        except Overrun:
            self._mark_all("more links changed than could be told")
        for key, kind in found.items():
            self._mark([key], f"a {kind} changed" if kind != "address" else "an address changed")

    def _whose(self, notice: Notice) -> Key | None:
        if notice.nsid is not None:
            return self._containers.get(notice.nsid)
        if notice.kind == "link":
            key = self._bridges.get(notice.name)
            if key is not None:
                self._indexes[notice.index] = key
                return key
            return self._containers.get(notice.beyond) if notice.beyond is not None else None
        return self._indexes.get(notice.index) if notice.kind == "address" else None

    def know_index(self, index: int, network: Key) -> None:
        """The number of a bridge that stood before we listened."""
        self._indexes[index] = network

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


def numbers_of(pids: Iterable[tuple[Key, int]]) -> list[tuple[Key, int | None]]:
    """By which number notices name the namespaces of these containers' processes. Raises OSError."""
    with route_socket() as opened:
        return [(key, namespace_number(opened, pid)) for key, pid in pids if key.kind is Kind.CONTAINER]
