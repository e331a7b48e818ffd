"""Addresses and routes of one link, as netlink messages and as records.

Called by the bridge and the endpoint. Uses the namespace that the socket was opened in.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from runtime.network import netlink
from runtime.network.records import Address, Gateway, Interface, Route, Subnet

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS = {int(family): version for version, family in _FAMILIES.items()}
_IFA_F_NODAD, _IFA_F_PERMANENT = 0x02, 0x80
_SCOPE_NOWHERE = 255
_NTF_USE = 0x01
_RT_TABLE_MAIN, _RT_TABLE_LOCAL, _RTPROT_STATIC, _RTN_UNICAST, _RTN_LOCAL = 254, 255, 4, 1, 2
_BEHIND_LOOPBACK = 4096
_RTM_F_CLONED = 0x200


def add_address(index: int, address: Interface) -> netlink.Request:
    """Give link `index` an address, usable at once (no duplicate address detection)."""
    return _address(netlink.RTM_NEWADDR, index, address, netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE, errno.EEXIST)


def delete_address(index: int, address: Interface) -> netlink.Request:
    """Take an address from link `index`; not having it is as good."""
    return _address(netlink.RTM_DELADDR, index, address, 0, errno.EADDRNOTAVAIL)


def _address(kind: int, index: int, address: Interface, flags: int, tolerated: int) -> netlink.Request:
    attributes = {"IFA_LOCAL": str(address.ip), "IFA_ADDRESS": str(address.ip)}
    if address.version == 4 and address.network.prefixlen < 31 and kind == netlink.RTM_NEWADDR:
        attributes["IFA_BROADCAST"] = str(address.network.broadcast_address)
    return netlink.address_request(
        kind,
        flags,
        tolerated=(tolerated,),
        attributes=attributes,
        family=_FAMILIES[address.version],
        prefixlen=address.network.prefixlen,
        flags=_IFA_F_NODAD | _IFA_F_PERMANENT if address.version == 6 else _IFA_F_PERMANENT,
        index=index,
    )


def read_addresses(opened: socket.socket, index: int) -> frozenset[Interface]:
    """The addresses of link `index`, link-local ones left out."""
    return all_addresses(opened, index).get(index, frozenset())


def all_addresses(opened: socket.socket, index: int = 0) -> dict[int, frozenset[Interface]]:
    """The addresses of every link (or of `index`), by link index, link-local ones left out."""
    found: dict[int, set[Interface]] = {}
    for message in netlink.dump(opened, ifaddrmsg, netlink.RTM_GETADDR, index=index):
        if message["family"] not in _VERSIONS:
            continue
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        address = ip_interface(f"{text}/{message['prefixlen']}")
        if not address.is_link_local:
            found.setdefault(int(message["index"]), set()).add(address)
    return {link: frozenset(addresses) for link, addresses in found.items()}


def add_default_route(index: int, gateway: Gateway) -> netlink.Request:
    """A default route through `gateway` on link `index`."""
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    return _route(netlink.RTM_NEWROUTE, index, gateway, flags, errno.EEXIST, proto=_RTPROT_STATIC, type=_RTN_UNICAST)


def delete_default_route(index: int, gateway: Gateway) -> netlink.Request:
    """Take that default route away, whoever made it; not having it is as good."""
    return _route(netlink.RTM_DELROUTE, index, gateway, 0, errno.ESRCH, scope=_SCOPE_NOWHERE)


def _route(kind: int, index: int, gateway: Gateway, flags: int, tolerated: int, **fields: int) -> netlink.Request:
    attributes: dict[str, object] = {"RTA_GATEWAY": str(gateway.address), "RTA_OIF": index}
    if gateway.metric:
        attributes["RTA_PRIORITY"] = gateway.metric
    return netlink.route_request(
        kind,
        flags,
        tolerated=(tolerated,),
        attributes=attributes,
        family=_FAMILIES[gateway.address.version],
        dst_len=0,
        table=_RT_TABLE_MAIN,
        **fields,
    )


def add_loopback_route(index: int) -> netlink.Request:
    """Let link `index` take in what is addressed to ::1, behind the route of `lo`.

    The kernel drops such packets off the wire by themselves; only an answer translated back to ::1 gets there.
    """
    return netlink.route_request(
        netlink.RTM_NEWROUTE,
        netlink.NLM_F_CREATE | netlink.NLM_F_APPEND,
        tolerated=(errno.EEXIST,),
        attributes={"RTA_DST": "::1", "RTA_OIF": index, "RTA_PRIORITY": _BEHIND_LOOPBACK},
        family=socket.AF_INET6,
        dst_len=128,
        table=_RT_TABLE_LOCAL,
        proto=_RTPROT_STATIC,
        type=_RTN_LOCAL,
    )


def ask_for_neighbour(index: int, address: Address) -> netlink.Request:
    """Let the kernel look for a neighbour on link `index` now.

    Its broadcast tells the bridge and everybody on it who has our address, and where, as of now.
    """
    return netlink.neighbour_request(
        netlink.RTM_NEWNEIGH,
        netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE,
        attributes={"NDA_DST": str(address)},
        family=_FAMILIES[address.version],
        ifindex=index,
        state=0,
        flags=_NTF_USE,
    )


def read_routes(opened: socket.socket, names: Mapping[int, str], *, every_table: bool = False) -> list[Route]:
    """The unicast routes of the main table, or of all but `local`; link-local and multicast ones are left out.

    `names` are those of the links by index.
    """
    found = []
    table = 0 if every_table else _RT_TABLE_MAIN
    for message in netlink.dump(opened, rtmsg, netlink.RTM_GETROUTE, table=table):
        if message["family"] not in _VERSIONS or message["type"] != _RTN_UNICAST:
            continue
        if message["flags"] & _RTM_F_CLONED:
            continue
        subnet = _destination(message)
        if not subnet.is_link_local and not subnet.is_multicast:
            found += [Route(subnet, via, name, _metric(message)) for via, name in _hops(message, names)]
    return found


def _destination(message: rtmsg) -> Subnet:
    zero = "0.0.0.0" if _VERSIONS[message["family"]] == 4 else "::"
    return ip_network(f"{message.get_attr('RTA_DST') or zero}/{message['dst_len']}")


def _metric(message: rtmsg) -> int:
    return int(message.get_attr("RTA_PRIORITY") or 0)


def _hops(message: rtmsg, names: Mapping[int, str]) -> list[tuple[Address | None, str]]:
    hops = message.get_attr("RTA_MULTIPATH")
    if hops:
        return [(_via(hop.get_attr("RTA_GATEWAY")), names.get(hop["oif"], "")) for hop in hops]
    return [(_via(message.get_attr("RTA_GATEWAY")), names.get(message.get_attr("RTA_OIF"), ""))]


def _via(text: str | None) -> Address | None:
    return ip_address(text) if text else None
