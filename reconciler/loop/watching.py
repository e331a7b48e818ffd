"""All watchers of the loop together: what each kind of event marks.

The meanings are here; the watchers themselves know only descriptors. Everything is called in the loop's own thread.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from reconciler.engine import Engine
from reconciler.loop.passes import Living
from reconciler.loop.settings import Tell, silent
from reconciler.loop.wanted import Wanted
from reconciler.loop.watch_contexts import ContextChanges
from reconciler.loop.watch_files import COMING_AND_GOING, WRITING, FileChanges
from reconciler.loop.watch_firewall import FirewallChanges, OwnThreads
from reconciler.loop.watch_inside import InsideChanges
from reconciler.loop.watch_links import LinkChanges
from reconciler.loop.watch_memory import MemoryKills
from reconciler.loop.watch_mounts import MountChanges
from reconciler.loop.watch_processes import ProcessEnds
from reconciler.observe.containers import init_word
from runtime.kernel import cgroup
from runtime.network.dns.control import read_identity
from runtime.network.dns.records import networks_directory
from runtime.network.notices import link_indexes
from runtime.network.records import Address
from schemas.build import BuildSpec
from schemas.image import ImageSpec
from schemas.names import Key, Kind

Mark = Callable[[Iterable[Key], str], None]
MOVING_FILES = frozenset({"cgroup.procs", "cgroup.threads", "tasks", "cgroup.event_control", "notify_on_release"})
"""Files of a cgroup that are written whenever a process is started in it, and limit nothing."""
COUNTERS = ("memory.events", "memory.swap.events", "pids.events")
"""Files of v2 that change with what a container does, as often as a hundred times a second at its limits."""
NETWORKED = frozenset({Kind.NETWORK, Kind.SERVICE})


class Watching:
    def __init__(
        self,
        engine: Engine,
        threads: OwnThreads,
        mark: Mark,
        mark_all: Callable[[str], None],
        killed: Callable[[Key, int], None],
        renew: Mark,
        tell: Tell = silent,
    ) -> None:
        """`killed`: called with a container and how many of its processes were killed for want of memory. `renew`: as
        `mark`, and whatever failed before is tried again."""
        self._began = time.time()
        _raise_descriptor_limit()
        self._layout = engine.layout
        self._mark = mark
        self._wanted = Wanted()
        self.processes = ProcessEnds()
        self.mounts = MountChanges()
        self.memory = MemoryKills(killed)
        self.files = FileChanges(mark_all)
        self.inside = InsideChanges(self.files, partial(_tell_full, tell))
        self.contexts = ContextChanges(renew)
        self.links = LinkChanges(engine.layout, mark, mark_all)
        self.firewall = FirewallChanges(engine.layout, threads, self._owners_touched, self._firewall_touched)
        self._directories: dict[str, Callable[[str], None]] = {
            str(engine.layout.layers): self._layer_came_or_went,
            str(engine.layout.blobs / "sha256"): self._tree_changed,
            str(engine.layout.images): lambda name: self._named(Kind.IMAGE, Path(name).stem),
            str(engine.layout.volumes): lambda name: self._named(Kind.VOLUME, name),
            str(engine.layout.root / "containers"): lambda name: self._named(Kind.CONTAINER, name),
            str(engine.layout.run / "containers"): lambda name: self._named(Kind.CONTAINER, name),
        }

    def know(self, wanted: Wanted) -> None:
        """What is asked for has changed."""
        self._wanted = wanted
        networks = [key for key in wanted.desired if key.kind is Kind.NETWORK]
        self.links.know_networks(networks)
        self.links.know_services(dict(_virtual_addresses(wanted)))
        indexes = link_indexes()
        for key in networks:
            if (index := indexes.get(self._layout.link("b", key.name))) is not None:
                self.links.know_index(index, key)
        if any(key.kind is Kind.VOLUME and "mount" in want.facts for key, want in wanted.desired.items()):
            self.mounts.watch("", 0, self._host_mounts_changed)
        self.contexts.know(_builds(wanted))
        self.look_again()

    def look_again(self) -> None:
        """At what may have come into being since: directories, the DNS server."""
        for path, changed in self._directories.items():
            if not self.files.is_watched(path):
                self.files.watch(path, COMING_AND_GOING, changed)
        self._look_inside()
        for key in self._wanted.desired:
            if key.kind is Kind.NETWORK:
                path = str(networks_directory(self._layout) / key.name)
                if not self.files.is_watched(path):
                    self.files.watch(path, COMING_AND_GOING, self._record_changed)
        identity = read_identity(self._layout.dns)
        if identity is not None:
            self.processes.follow("dns", *identity, self._dns_ended)

    def _look_inside(self) -> None:
        layout = self._layout
        volumes = [key.name for key in self._wanted.desired if key.kind is Kind.VOLUME]
        self.inside.know_volumes(layout.volumes, partial(self._named, Kind.VOLUME), volumes)
        self.inside.know_layers(layout.layers, self._tree_changed)

    def follow(self, living: Iterable[Living]) -> None:
        """Each container's processes, cgroup and mounts, as they are now."""
        for each in living:
            key, process = each.key, each.process
            if (want := self._wanted.desired.get(key)) is None:
                # it went out of the manifests while the pass was under way
                continue
            self.processes.follow((key, "init"), process.pid, process.start_time, partial(self._ended, key))
            self.processes.follow(
                (key, "monitor"),
                process.monitor_pid,
                process.monitor_start_time,
                partial(self._mark, [key], "its monitor ended"),
            )
            self.links.know_container(key, each.number)
            self._follow_cgroup(key)
            fresh = (process.started_at or process.created_at) >= self._began
            self.memory.follow(key, self._layout.cgroup(key.name), init_word(process), fresh=fresh)
            if want.facts.get("mounts"):
                self.mounts.watch(key.name, process.pid, partial(self._mark, [key], "a mount changed"))

    def _follow_cgroup(self, key: Key) -> None:
        for path in cgroup.places(self._layout.cgroup(key.name)):
            self.files.watch(path, WRITING, partial(self._limit_changed, key))

    def _ended(self, key: Key) -> None:
        self.links.know_container(key, None)
        self.mounts.forget(key.name)
        self.memory.forget(key)
        self._mark([key], "its process ended")

    def _limit_changed(self, key: Key, file: str) -> None:
        if file == "memory.events":
            self.memory.look(key)
        if file not in MOVING_FILES and not file.startswith(COUNTERS):
            self._mark([key], f"{file} was written")

    def _named(self, kind: Kind, name: str) -> None:
        key = Key(kind, name)
        if key in self._wanted.desired:
            self._mark([key], "its files changed")

    def _layer_came_or_went(self, name: str) -> None:
        if not name.startswith("."):
            self.inside.renew(self._layout.layers, name, self._tree_changed)
        self._tree_changed(name)

    def _tree_changed(self, name: str) -> None:
        if not name.startswith("."):
            self._mark_kinds("a layer changed", Kind.IMAGE)

    def _record_changed(self, owner: str) -> None:
        if not owner.startswith("."):
            self._owners_touched([owner.removeprefix("service:")], "its names changed")

    def _dns_ended(self) -> None:
        self._mark_kinds("the DNS server ended", Kind.NETWORK)

    def _host_mounts_changed(self) -> None:
        volumes = [k for k, want in self._wanted.desired.items() if k.kind is Kind.VOLUME and "mount" in want.facts]
        self._mark(volumes, "a mount changed")

    def _mark_kinds(self, why: str, *kinds: Kind) -> None:
        self._mark([key for key in self._wanted.desired if key.kind in kinds], why)

    def _owners_touched(self, owners: Iterable[str], why: str = "its firewall rules changed") -> None:
        """By name: a container, a Service (`web_AT_front` in the balancing), or a network."""
        for owner in owners:
            name = owner.partition("_AT_")[0]
            keys = [Key(kind, name) for kind in (Kind.CONTAINER, Kind.SERVICE, Kind.NETWORK)]
            known = [key for key in keys if key in self._wanted.desired]
            self._mark([*known, *(user for key in known for user in self._services(key))], why)

    def _services(self, key: Key) -> list[Key]:
        return [user for user in self._wanted.users.get(key, ()) if user.kind is Kind.SERVICE]

    def _firewall_touched(self, why: str) -> None:
        published = [key for key, want in self._wanted.desired.items() if want.facts.get("published")]
        self._mark_kinds(why, *NETWORKED)
        self._mark(published, why)

    def close(self) -> None:
        watchers = (self.processes, self.memory, self.mounts, self.files, self.contexts, self.links, self.firewall)
        for watcher in watchers:
            watcher.close()


def _builds(wanted: Wanted) -> dict[Key, BuildSpec]:
    specs = {key: want.declared.spec for key, want in wanted.desired.items() if want.declared is not None}
    return {key: spec.build for key, spec in specs.items() if isinstance(spec, ImageSpec) and spec.build is not None}


def _tell_full(tell: Tell, count: int) -> None:
    why = f"only {count} layers and volumes are watched; of the others the resync finds what was removed by hand"
    tell("watch.full", {"error": why})


def _virtual_addresses(wanted: Wanted) -> Iterator[tuple[tuple[str, Address], Key]]:
    """Network and address of each Service."""
    for key, want in wanted.desired.items():
        for network, balance in want.facts.get("balance", {}).items():
            yield from (((network, ip_address(address)), key) for address in balance["virtual"])


def _raise_descriptor_limit() -> None:
    """Two pidfds and a mountinfo for each container."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
