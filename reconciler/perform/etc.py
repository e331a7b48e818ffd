"""The files a container finds in /etc: hosts, hostname, resolv.conf, as Docker has them.

Written before each start, and again in place when its networks change while it lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reconciler.desired import Desired
from reconciler.kinds.endpoints import bare
from reconciler.perform.context import Context
from reconciler.resolve.containers import joined
from runtime.network.dns.record_files import INSIDE_ADDRESS
from runtime.network.records import Driver
from schemas.container import ContainerSpec

LOOPBACK = ("127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback")
HOST_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")
RESOLV = Path("/etc/resolv.conf")
MOST_SERVERS = 3
"""Name servers that resolv.conf(5) takes."""


def etc_files(context: Context, want: Desired, spec: ContainerSpec) -> Mapping[str, Path]:
    """Target -> generated file. One that joins another's network sees that one's files."""
    peer = joined(spec.network_mode)
    directory = context.engine.layout.container(peer.name if peer else want.key.name) / "etc"
    if peer is None:
        directory.mkdir(mode=0o755, exist_ok=True)
        write_etc(context, want, spec)
    return {target: directory / Path(target).name for target in HOST_FILES if (directory / Path(target).name).exists()}


def write_etc(context: Context, want: Desired, spec: ContainerSpec) -> None:
    """In place: the container has these very files mounted. One that joins another's network has none of its own."""
    directory = context.engine.layout.container(want.key.name) / "etc"
    if not directory.exists():
        return
    for target, text in _texts(context, want, spec).items():
        path = directory / Path(target).name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _texts(context: Context, want: Desired, spec: ContainerSpec) -> Mapping[str, str]:
    hostname = spec.hostname or want.key.name
    own_name = {"/etc/hostname": f"{hostname}\n"} if spec.uts != "host" else {}
    if spec.network_mode == "host":
        hosts = "".join(f"{line}\n" for line in _extra(spec, "127.0.0.1"))
        return {"/etc/hosts": _host_file("/etc/hosts") + hosts, "/etc/resolv.conf": _host_resolv(spec), **own_name}
    return {
        "/etc/hosts": _hosts(context, want, spec, hostname),
        "/etc/resolv.conf": _resolv(context, want, spec),
        **own_name,
    }


def _host_file(path: str) -> str:
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return ""
    return text if text.endswith("\n") or not text else f"{text}\n"


def _hosts(context: Context, want: Desired, spec: ContainerSpec, hostname: str) -> str:
    names = f"{hostname}.{spec.domainname} {hostname}" if spec.domainname else hostname
    endpoints = want.facts["endpoints"].values()
    addresses = [bare(address) for facts in endpoints for address in facts["addresses"]]
    lines = [*LOOPBACK, *(f"{address}\t{names}" for address in addresses)]
    return "\n".join([*lines, *_extra(spec, _gateway(context, want))]) + "\n"


def _extra(spec: ContainerSpec, gateway: str) -> Iterator[str]:
    for name, given in spec.extra_hosts.items():
        for address in given:
            yield f"{gateway if address == 'host-gateway' else address}\t{name}"


def _gateway(context: Context, want: Desired) -> str:
    """`host-gateway`: the address the host has on the container's network, that of its default route first."""
    routed = [gateway for facts in want.facts["endpoints"].values() for gateway in facts["gateways"]]
    known = [str(pool.gateway) for name in want.facts["endpoints"] for pool in context.pools.get(name, ())]
    return next(iter((*routed, *known)), "127.0.0.1")


def _resolv(context: Context, want: Desired, spec: ContainerSpec) -> str:
    """The engine's own server, which forwards to `dns`: at the gateway of each bridge; without a bridge, within the
    container's own network namespace."""
    bridges = [name for name in want.facts["endpoints"] if context.network(name).driver is Driver.BRIDGE]
    servers = [str(pool.gateway) for name in bridges for pool in context.pools.get(name, ())]
    if "resolver" in want.facts:
        servers = [INSIDE_ADDRESS]
    return _resolv_text(spec, servers or list(spec.dns), spec.dns_opt or ("ndots:0",))


def _host_resolv(spec: ContainerSpec) -> str:
    """The host's own file, unless the manifest says something else."""
    if not (spec.dns or spec.dns_search or spec.dns_opt):
        return _host_file(str(RESOLV))
    return _resolv_text(spec, list(spec.dns) or host_words("nameserver"), spec.dns_opt or host_words("options"))


def _resolv_text(spec: ContainerSpec, servers: Sequence[str], options: Sequence[str]) -> str:
    lines = [f"nameserver {server}" for server in servers[:MOST_SERVERS]]
    search = [domain for domain in (spec.dns_search or host_words("search")) if domain != "."]
    if search:
        lines.append(f"search {' '.join(search)}")
    if options:
        lines.append(f"options {' '.join(options)}")
    return "\n".join(lines) + "\n"


def host_words(keyword: str) -> list[str]:
    """What the host's resolv.conf(5) says after a keyword: every `nameserver`, the last `search` or `options`."""
    lines = [line.split() for line in _host_file(str(RESOLV)).splitlines()]
    found = [words[1:] for words in lines if words and words[0] == keyword]
    return [word for words in (found if keyword == "nameserver" else found[-1:]) for word in words]
