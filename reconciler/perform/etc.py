"""The files a container finds in /etc: hosts, hostname, resolv.conf, written before each start (Docker's rules)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.desired import Desired
from reconciler.kinds.endpoints import bare
from reconciler.perform.context import Context
from reconciler.resolve.containers import joined
from schemas.container import ContainerSpec

LOOPBACK = ("127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback")
HOST_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")


def etc_files(context: Context, want: Desired, spec: ContainerSpec) -> Mapping[str, Path]:
    """Target -> generated file. One that joins another's network sees that one's files."""
    peer = joined(spec.network_mode)
    directory = context.engine.layout.container(peer.name if peer else want.key.name) / "etc"
    if peer is None:
        directory.mkdir(mode=0o755, exist_ok=True)
        for target, text in _texts(context, want, spec).items():
            (directory / Path(target).name).write_text(text)
    return {target: directory / Path(target).name for target in HOST_FILES if (directory / Path(target).name).exists()}


def _texts(context: Context, want: Desired, spec: ContainerSpec) -> Mapping[str, str]:
    hostname = spec.hostname or want.key.name
    if spec.network_mode == "host":
        texts = {path: Path(path).read_text(errors="replace") for path in HOST_FILES[:2] if Path(path).exists()}
        return texts | ({"/etc/hostname": f"{hostname}\n"} if spec.uts != "host" else {})
    return {
        "/etc/hosts": _hosts(context, want, spec, hostname),
        "/etc/resolv.conf": _resolv(context, want, spec),
        "/etc/hostname": f"{hostname}\n",
    }


def _hosts(context: Context, want: Desired, spec: ContainerSpec, hostname: str) -> str:
    names = f"{hostname}.{spec.domainname} {hostname}" if spec.domainname else hostname
    addresses = [bare(a) for facts in want.facts["endpoints"].values() for a in facts["addresses"]]
    lines = [*LOOPBACK, *(f"{address}\t{names}" for address in addresses)]
    for name, given in spec.extra_hosts.items():
        lines += [f"{_gateway(want) if address == 'host-gateway' else address}\t{name}" for address in given]
    return "\n".join(lines) + "\n"


def _gateway(want: Desired) -> str:
    """`host-gateway`: the address the host has on the container's network."""
    gateways = [gateway for facts in want.facts["endpoints"].values() for gateway in facts["gateways"]]
    return str(gateways[0]) if gateways else "127.0.0.1"


def _resolv(context: Context, want: Desired, spec: ContainerSpec) -> str:
    """The engine's own server at each gateway; `dns` is what it forwards to."""
    servers = [
        bare(f"{pool.gateway}") for network in want.facts["endpoints"] for pool in context.pools.get(network, ())
    ] or list(spec.dns)
    lines = [f"nameserver {server}" for server in servers[:3]]
    if spec.dns_search:
        lines.append(f"search {' '.join(spec.dns_search)}")
    options = spec.dns_opt or ("ndots:0",)
    return "\n".join([*lines, f"options {' '.join(options)}"]) + "\n"
