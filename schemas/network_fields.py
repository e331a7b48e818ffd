"""The fields of a container that say how it is reached and whom it reaches.

Ports and networks are changed in place: the container keeps running. What is written into its /etc/resolv.conf and
/etc/hosts is written at the start.

Source: Compose Specification, services.
"""

from typing import Annotated, Any, Self

from pydantic import model_validator

from schemas.addresses import ExtraHosts, Ips, SearchDomains
from schemas.attachment import NetworkMode, Networks
from schemas.faults import Fault, refuse
from schemas.field import Spec, live, restart
from schemas.plain_types import read_line, words
from schemas.port import ExposedPorts, PublishedPorts

DnsOptions = Annotated[tuple[str, ...], words(read_line, "list of option", {"type": "string"}, single=True)]


class NetworkFields(Spec):
    """The fields of a container that say how it is reached and whom it reaches."""

    ports: Annotated[PublishedPorts, live("Ports reached from outside, as HOST:CONTAINER/PROTOCOL.")] = ()
    expose: Annotated[ExposedPorts, live("Ports it listens on, for people and tools.")] = ()
    networks: Annotated[Networks, live("Networks it is attached to.", default="the network named default")] = {}
    network_mode: Annotated[
        NetworkMode | None,
        restart("Instead of networks: the host's network, none, or that of another container.", default="bridge"),
    ] = None
    dns: Annotated[Ips, restart("DNS servers asked for names outside.", default="the host's")] = ()
    dns_search: Annotated[SearchDomains, restart("Domains tried for names without a dot.", default="the host's")] = ()
    dns_opt: Annotated[DnsOptions, restart("Options of resolv.conf(5).")] = ()
    extra_hosts: Annotated[ExtraHosts, restart("Lines of /etc/hosts: addresses by name.")] = {}

    @model_validator(mode="after")
    def _networks_agree(self) -> Self:
        refuse("networks", network_faults(self))
        return self


def network_faults(spec: NetworkFields) -> list[Fault]:
    """Fields that cannot stand together, as Compose and Docker refuse them."""
    mode = spec.network_mode
    faults: list[Fault] = []
    if mode is None:
        return [*_repeated_ports(spec)]
    if spec.networks and mode != "bridge":
        faults.append((("network_mode",), f"{mode} stands in place of networks; leave one of them out"))
    if spec.ports and mode != "bridge":
        faults.append((("ports",), f"cannot be published with network_mode: {mode}; leave one of them out"))
    if mode.startswith(("container:", "service:")):
        faults += [
            ((name,), f"belongs to the container whose network is joined; write it there, not with {mode}")
            for name in ("dns", "dns_search", "dns_opt", "extra_hosts")
            if getattr(spec, name)
        ]
    return faults + _repeated_ports(spec)


def _repeated_ports(spec: NetworkFields) -> list[Fault]:
    faults: list[Fault] = []
    seen: dict[tuple[Any, ...], int] = {}
    for index, port in enumerate(spec.ports):
        published = port.published
        if published is None or published.count > 1:
            continue
        key = (port.host_ip, published.first, port.protocol)
        if key in seen:
            faults.append((("ports", index), f"publishes {published}/{port.protocol} again; keep one of them"))
        seen[key] = index
    return faults
