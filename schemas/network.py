"""What a Network manifest may say: driver, options, address pools.

Subnets are checked here against themselves and each other; against the host's routes, by whoever sees them.

Source: Compose Specification, networks; options by the names of Docker's drivers bridge, macvlan and ipvlan.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import ConfigDict, model_validator

from schemas.addresses import Ip, Ipv4, Subnet
from schemas.attachment import LinkName
from schemas.faults import Fault, refuse
from schemas.field import Spec, live, part, replace
from schemas.plain_types import Flag, Labels, one_of, whole
from schemas.spelling import Spelling
from schemas.volume import external_faults

DRIVERS = ("bridge", "macvlan", "ipvlan", "host", "none")
MODES = {
    "macvlan": ("bridge", "private", "vepa", "passthru"),
    "ipvlan": ("l2", "l3", "l3s"),
}
DOCKER_NAMES = {
    "com.docker.network.driver.mtu": "mtu",
    "com.docker.network.bridge.enable_icc": "enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade": "enable_ip_masquerade",
    "com.docker.network.bridge.host_binding_ipv4": "host_binding_ipv4",
    "macvlan_mode": "mode",
    "ipvlan_mode": "mode",
}
"""Docker's names of driver options, and ours."""
Mtu = Annotated[int, whole(68, 65535)]


class NetworkDriverOptions(Spec):
    """Options of the network's driver. Docker's long names are understood too."""

    model_config = ConfigDict(
        json_schema_extra={"patternProperties": {f"^{re.escape(name)}$": {} for name in DOCKER_NAMES}}
    )

    mtu: Annotated[Mtu | None, live("Largest packet.", unit="bytes", default="1500, or the parent's")] = None
    enable_icc: Annotated[Flag, live("Its containers may reach each other.")] = True
    isolation: Annotated[Flag, live("Containers of other networks cannot reach it.")] = True
    enable_ip_masquerade: Annotated[Flag, live("Traffic to the outside bears the host's address.")] = True
    host_binding_ipv4: Annotated[
        Ipv4 | None, live("Address of the host where ports are published that name none.", default="every address")
    ] = None
    parent: Annotated[LinkName | None, replace("With macvlan and ipvlan: interface of the host.")] = None
    mode: Annotated[
        Annotated[str, one_of(*MODES["macvlan"], *MODES["ipvlan"])] | None,
        replace("With macvlan: bridge, private, vepa, passthru. With ipvlan: l2, l3, l3s.", default="bridge, l2"),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _our_names(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {DOCKER_NAMES.get(name, name): item for name, item in value.items()}


class Pool(Spec):
    """One subnet, and what of it is given to containers."""

    subnet: Annotated[Subnet | None, part("The subnet, as 10.5.0.0/24.", default="a free one, kept")] = None
    gateway: Annotated[Ip | None, part("The bridge's own address.", default="the first of the subnet")] = None
    ip_range: Annotated[
        Subnet | None, part("Part of the subnet that containers get addresses of.", default="all of it")
    ] = None
    aux_addresses: Annotated[
        dict[str, Ip], Spelling(lambda value: value, "map of address"), part("Addresses never given out, by name.")
    ] = {}

    @model_validator(mode="after")
    def _inside_the_subnet(self) -> Self:
        refuse("pool", pool_faults(self))
        return self


class Ipam(Spec):
    """Where the network's addresses come from."""

    driver: Annotated[Annotated[str, one_of("default")], part("`default`: the engine gives them.")] = "default"
    config: Annotated[tuple[Pool, ...], part("Address pools, at most one subnet that is not written.")] = ()


class NetworkSpec(Spec):
    """A network that containers are attached to."""

    driver: Annotated[
        Annotated[str, one_of(*DRIVERS)],
        replace("`bridge`, `macvlan`, `ipvlan`, or `host` and `none` under a name of your own."),
    ] = "bridge"
    driver_opts: Annotated[NetworkDriverOptions, live("Options of the driver.")] = (
        NetworkDriverOptions.model_construct()
    )
    internal: Annotated[Flag, live("It has no way to the outside.")] = False
    attachable: Annotated[Flag, live("Accepted; every network can be attached to.")] = True
    enable_ipv4: Annotated[Flag, replace("Its containers get IPv4 addresses.")] = True
    enable_ipv6: Annotated[
        Flag | None, replace("Its containers get IPv6 addresses.", default="true if a pool is IPv6")
    ] = None
    ipam: Annotated[Ipam, replace("Where its addresses come from.")] = Ipam.model_construct()
    labels: Annotated[Labels, live("Notes for people and tools.")] = {}
    external: Annotated[Flag, replace("It exists already and is never made nor removed.")] = False

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        refuse("network", [*external_faults(self), *driver_faults(self), *family_faults(self), *overlaps(self)])
        return self


def pool_faults(pool: Pool) -> list[Fault]:
    """Addresses outside their subnet."""
    named: list[tuple[tuple[str, ...], str | None]] = [
        (("gateway",), pool.gateway),
        (("ip_range",), pool.ip_range),
        *((("aux_addresses", name), address) for name, address in pool.aux_addresses.items()),
    ]
    given = [(place, text) for place, text in named if text is not None]
    if pool.subnet is None:
        return [(place, "means nothing without a subnet; write subnet: too") for place, _ in given]
    subnet = ipaddress.ip_network(pool.subnet)
    return [
        (place, f"{text} lies outside {subnet}; write one inside it")
        for place, text in given
        if not _lies_in(ipaddress.ip_network(text), subnet)
    ]


def _lies_in(inner: Any, outer: Any) -> bool:
    return inner.version == outer.version and bool(inner.subnet_of(outer))


def driver_faults(spec: NetworkSpec) -> list[Fault]:
    """Options that the driver has not."""
    options = spec.driver_opts
    faults: list[Fault] = []
    if spec.driver in ("host", "none") and (spec.ipam.config or spec.internal or options != NetworkDriverOptions()):
        faults.append((("driver",), f"{spec.driver} has no addresses and options; leave them out"))
    if options.parent is not None and spec.driver not in MODES:
        faults.append((("driver_opts", "parent"), "belongs to macvlan and ipvlan; leave it out"))
    if options.mode is not None and options.mode not in MODES.get(spec.driver, ()):
        known = " or ".join(MODES[spec.driver]) if spec.driver in MODES else "no mode"
        faults.append((("driver_opts", "mode"), f"{options.mode} is none of {spec.driver}; write {known}"))
    return faults


def family_faults(spec: NetworkSpec) -> list[Fault]:
    """Pools of a family that is switched off."""
    faults: list[Fault] = []
    for index, pool in enumerate(spec.ipam.config):
        version = ipaddress.ip_network(pool.subnet).version if pool.subnet else None
        if (version == 6 and spec.enable_ipv6 is False) or (version == 4 and not spec.enable_ipv4):
            faults.append((("ipam", "config", index, "subnet"), f"is IPv{version}; write enable_ipv{version}: true"))
    if not spec.enable_ipv4 and spec.enable_ipv6 is False:
        faults.append((("enable_ipv4",), "leaves no addresses at all; leave one of IPv4 and IPv6 on"))
    return faults


def overlaps(spec: NetworkSpec) -> list[Fault]:
    """Pools that share addresses."""
    subnets = [ipaddress.ip_network(pool.subnet) if pool.subnet else None for pool in spec.ipam.config]
    faults: list[Fault] = []
    for index, subnet in enumerate(subnets):
        for earlier in subnets[:index]:
            if subnet and earlier and subnet.version == earlier.version and subnet.overlaps(earlier):
                faults.append((("ipam", "config", index, "subnet"), f"overlaps {earlier}; write another"))
    return faults


def has_own_macs(spec: NetworkSpec) -> bool:
    """Whether its containers' links have hardware addresses of their own: those of ipvlan, and of macvlan in the mode
    passthru, have their parent's."""
    return spec.driver != "ipvlan" and spec.driver_opts.mode != "passthru"
