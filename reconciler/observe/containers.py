"""Facts of a container: its process, what its cgroup's files say, what its mount and network namespaces hold."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.bundle.config import image_digest
from reconciler.engine import Engine
from reconciler.kinds.container import ANOTHER_IMAGE, COMPLETED
from reconciler.kinds.endpoints import join
from reconciler.observe.names import read_names
from reconciler.observe.shared import Shared
from reconciler.resolve.expand import recorded_image
from reconciler.store.records import Record
from reconciler.wanted.networks import is_own_bridge
from runtime.images.store import image_changed_at, read_image
from runtime.kernel import cgroup
from runtime.kernel.process import has_ended, read_of
from runtime.network.observe import read_endpoints
from runtime.network.records import ObservedEndpoint, Publication
from runtime.process.client import is_attended, read_process
from runtime.process.records import ExitRecord, Phase, ProcessRecord
from schemas.errors import TrimtabError

LOOKS = 3
"""At most, at a container whose process ends while it is looked at."""
ENDING_SECONDS = 1.0
REMOVED = "//deleted"
"""How the kernel marks a mount's root that was removed from its file system."""


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    """Its facts, from the process, its cgroup, mounts and network namespace."""
    for _ in range(LOOKS):
        process = read_process(engine.layout, record.key.name)
        facts: dict[str, Any] = {"bundle": _bundle(engine, record), "process": process_word(process)}
        if process is None or process.phase is Phase.EXITED:
            break
        facts |= _of_process(engine, record, process, shared)
        # of one that ended meanwhile half is true, and looks like drift
        if not has_ended(process.pid, process.start_time, ENDING_SECONDS):
            break
    return facts


def _of_process(engine: Engine, record: Record, process: ProcessRecord, shared: Shared) -> Mapping[str, Any]:
    name = record.key.name
    return {
        "init": init_word(process),
        "monitor": "present" if is_attended(engine.layout, process) else None,
        **_limits(engine, record),
        "mounts": _mounts(process.pid, record.asked.get("mounts", {})),
        **_endpoints(engine, process.pid, record.asked.get("endpoints", {}), shared),
        "published": _publications(record, shared),
        "names": read_names(engine, name, record.asked.get("names", {})),
        **_resolver(record, process, shared),
        "user_namespace": _id_base(process.pid),
        "oom_score_adj": _oom_score(process.pid),
    }


def _bundle(engine: Engine, record: Record) -> str | None:
    """Whether it is there, and of what its image is now: an apply may have been killed between the two."""
    config = engine.layout.container(record.key.name) / "config.json"
    try:
        made_at = config.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None
    name = recorded_image(record.fields["spec"], record.needs)
    changed_at = image_changed_at(engine.layout, name)
    # reading both costs more, and is hardly ever needed
    if changed_at is None or changed_at <= made_at or _is_of(engine, name, config):
        return "present"
    return ANOTHER_IMAGE


def _is_of(engine: Engine, image: str, config: Path) -> bool:
    have = read_image(engine.layout, image)
    try:
        made_of = image_digest(json.loads(config.read_bytes()))
    except (OSError, ValueError):
        return True
    return have is None or made_of in (None, have.digest)


def process_word(process: ProcessRecord | None) -> str | None:
    """`running`, `completed` (ended with 0), `exit code 3`, `killed by signal 9`, `out of memory`."""
    if process is None:
        return None
    if process.phase is not Phase.EXITED or process.exit is None:
        return process.phase.value
    return exit_word(process.exit)


def init_word(process: ProcessRecord) -> str:
    """Tells the process from every other one: its pid and its start time in clock ticks since boot."""
    return f"{process.pid} since {process.start_time}"


def exit_word(ended: ExitRecord) -> str:
    """How a process ended, in the words of plans and tables."""
    if ended.finished_at is None or (ended.exit_code is None and not ended.error):
        return "ended, nobody saw how"
    if ended.error:
        return f"did not start: {ended.error}"
    if ended.oom_killed and ended.exit_code != 0:
        return "killed: out of memory"
    if ended.signal:
        return f"killed by signal {ended.signal}"
    return COMPLETED if ended.exit_code == 0 else f"exit code {ended.exit_code}"


def _limits(engine: Engine, record: Record) -> Mapping[str, Any]:
    """What was asked for, as the files say it now; and what they say that nobody asked for."""
    asked = record.asked.get("limits", {})
    found: dict[str, Any] = {name: dict(section) for name, section in asked.items()}
    others = []
    try:
        differences = cgroup.differences(engine.layout.cgroup(record.key.name), asked)
    except FileNotFoundError:
        return {"limits": None, "other_limits": "none"}
    for difference in differences:
        section, _, name = difference.field.partition(".")
        if name in found.get(section, {}):
            found[section][name] = difference.observed
        else:
            others.append(f"{difference.field} = {difference.observed}")
    return {"limits": found, "other_limits": ", ".join(others) or "none"}


def _mounts(pid: int, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Which of the wanted targets are mount points of something in the process's mount namespace
    (proc_pid_mountinfo(5))."""
    if not wanted:
        return {}
    try:
        lines = read_of(pid, "mountinfo").decode(errors="surrogateescape").splitlines()
    except OSError:
        return {}
    columns = (line.split(" ", 5) for line in lines)
    points = {at.encode().decode("unicode_escape") for _, _, _, root, at, _ in columns if not root.endswith(REMOVED)}
    return {target: "mounted" if os.path.normpath(target) in points else None for target in wanted}


def _endpoints(engine: Engine, pid: int, wanted: Mapping[str, Any], shared: Shared) -> Mapping[str, Any]:
    """What was asked for, as the container's network namespace has it; and its links into other bridges of ours."""
    if not wanted:
        return {"endpoints": {}, "other_endpoints": "none"}
    try:
        found = {endpoint.interface: endpoint for endpoint in read_endpoints(pid, host=shared.links)}
    except (OSError, TrimtabError):
        return {"endpoints": {}, "other_endpoints": "none"}
    known = {asked["interface"] for asked in wanted.values()}
    others = [
        name for name, each in found.items() if name not in known and is_own_bridge(engine.layout, each.attached_to)
    ]
    endpoints = {
        network: _endpoint(engine, network, found[asked["interface"]]) if asked["interface"] in found else None
        for network, asked in wanted.items()
    }
    return {"endpoints": endpoints, "other_endpoints": ", ".join(sorted(others)) or "none"}


def _endpoint(engine: Engine, network: str, endpoint: ObservedEndpoint) -> Mapping[str, Any]:
    bridge = engine.layout.link("b", network)
    astray = is_own_bridge(engine.layout, endpoint.attached_to) and endpoint.attached_to != bridge
    default = [route for route in endpoint.routes if route.subnet.prefixlen == 0 and route.gateway is not None]
    return {
        "attached": bool(endpoint.attached_to) and endpoint.up and not astray,
        "interface": endpoint.interface,
        "mac": endpoint.mac,
        "mtu": endpoint.mtu,
        "addresses": sorted(map(str, endpoint.addresses)),
        "gateways": [str(route.gateway) for route in sorted(default, key=lambda route: route.subnet.version)],
    }


def _publications(record: Record, shared: Shared) -> Mapping[str, str]:
    """What never asked for a port has none: the firewall is not read for it."""
    if not record.asked.get("published"):
        return {}
    return dict(map(_published, shared.publications.get(record.key.name, ())))


def _published(publication: Publication) -> tuple[str, str]:
    everywhere = "0.0.0.0" if publication.address.version == 4 else "::"
    host = str(publication.host_address or everywhere)
    at = f"{publication.protocol} {join(host, publication.host_port)}"
    return at, join(str(publication.address), publication.container_port)


def _resolver(record: Record, process: ProcessRecord, shared: Shared) -> Mapping[str, str]:
    """Whether the DNS server answers within the process's own network namespace, where that was asked for."""
    if "resolver" not in record.asked:
        return {}
    answered = shared.dns.inside.get(record.key.name) == (process.pid, process.start_time)
    return {"resolver": "answering" if answered else "not answering"}


def _id_base(pid: int) -> int | None:
    """The host id of the process's uid 0 (user_namespaces(7)); None in the host's own user namespace."""
    try:
        first = read_of(pid, "uid_map").split()
    except OSError:
        return None
    return int(first[1]) if first and (first[1] != b"0") else None


def _oom_score(pid: int) -> int | None:
    """proc_pid_oom_score_adj(5)"""
    try:
        return int(read_of(pid, "oom_score_adj"))
    except (OSError, ValueError):
        return None
