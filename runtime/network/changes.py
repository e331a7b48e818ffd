"""Changes of addresses, routes and neighbours, as netlink messages.

Called by the bridge, the endpoint and the Service, who send them. `addresses.py` reads them back.
"""

from __future__ import annotations

import errno
import socket

from runtime.network import netlink
from runtime.network.records import Address, Gateway, Interface

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_IFA_F_NODAD, _IFA_F_PERMANENT = 0x02, 0x80
_SCOPE_NOWHERE = 255
_AF_BRIDGE = 7
_NTF_USE, _NTF_MASTER, _NTF_EXT_LEARNED, _NTF_STICKY = 0x01, 0x04, 0x10, 0x40
_NUD_NOARP = 0x40
_RT_TABLE_MAIN, _RT_TABLE_LOCAL, _RTPROT_STATIC, _RTN_UNICAST, _RTN_LOCAL = 254, 255, 4, 1, 2
_BEHIND_LOOPBACK = 4096


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

    Its broadcast tells the bridge and everybody on it who has our address, and where, as of now. The entry, one that
    stays with the link, is not counted among those that all namespaces of the machine may have together.
    """
    return netlink.neighbour_request(
        netlink.RTM_NEWNEIGH,
        netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE,
        attributes={"NDA_DST": str(address)},
        family=_FAMILIES[address.version],
        ifindex=index,
        state=0,
        flags=_NTF_USE | _NTF_EXT_LEARNED,
    )


def keep_at_port(port: int, mac: str) -> netlink.Request:
    """Let the bridge of link `port` send what is for `mac` there, and learn of no other port for it.

    The link of a predecessor that has the same hardware address sends reports of its multicast groups (RFC 3810) for
    some seconds after its container has ended. Whoever asks for the address last has it; it goes with the port.
    """
    return netlink.neighbour_request(
        netlink.RTM_NEWNEIGH,
        netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE,
        attributes={"NDA_LLADDR": mac},
        family=_AF_BRIDGE,
        ifindex=port,
        state=_NUD_NOARP,
        flags=_NTF_MASTER | _NTF_STICKY,
    )
