"""Changes of our nftables tables by somebody else's hand: whose rules and elements they were."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable

from runtime.layout import Layout
from runtime.network.firewall.notices import Transactions, open_firewall_notices
from runtime.network.notices import Overrun


class OwnThreads:
    """Threads that have acted lately, by their ids: what they change is known already."""

    def __init__(self) -> None:
        self._latest: deque[int] = deque(maxlen=256)

    def note(self) -> None:
        """The calling thread acts."""
        thread = threading.get_native_id()
        if thread not in self._latest:
            self._latest.append(thread)

    def __contains__(self, thread: object) -> bool:
        return thread in self._latest or os.path.exists(f"/proc/self/task/{thread}")  # noqa: PTH110


class FirewallChanges:
    """Made and used in one event loop, in the network namespace of the host."""

    def __init__(
        self,
        layout: Layout,
        threads: OwnThreads,
        mark_owners: Callable[[Iterable[str]], None],
        mark_everything: Callable[[str], None],
    ) -> None:
        self._mark_owners = mark_owners
        self._mark_everything = mark_everything
        self._transactions = Transactions(layout, threads.__contains__)
        self._socket = open_firewall_notices()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        owners: set[str] = set()
        everything = False
        try:
            for touched in self._transactions.read(self._socket):
                owners |= touched.owners
                everything = everything or touched.everything
        except Overrun:
            everything = True
        if everything:
            self._mark_everything("firewall rules changed")
        elif owners:
            self._mark_owners(owners)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
