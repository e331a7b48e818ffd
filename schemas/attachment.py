"""A container's attachment to a network, and the modes that stand in for networks.

Whether the network exists, and whether a fixed address lies in its subnet, is `check`'s business.

Source: Compose Specification, services, networks and network_mode.
"""

import re
from typing import Annotated, Any

from schemas.addresses import DnsNames, Ips, Ipv4, Ipv6, Mac
from schemas.faults import collect, refuse
from schemas.field import Spec, part
from schemas.plain_types import NAME, is_name, list_of, read_name, read_text, whole
from schemas.spelling import Spelling, pattern

Priority = Annotated[int, whole(-(2**31), 2**31 - 1)]
_LINK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")


def read_link_name(value: Any) -> str:
    """An interface name: at most 15 bytes, no slash or space (dev_valid_name in the kernel). Raises ValueError."""
    text = read_text(value)
    if not _LINK.fullmatch(text) or text == "lo":
        raise ValueError(f"{text!r} is no interface name; write at most 15 letters and digits, as in eth0")
    return text


LinkName = Annotated[str, Spelling(read_link_name, "interface name", pattern(_LINK.pattern), final=True)]


class Attachment(Spec):
    """How the container is attached to one network."""

    aliases: Annotated[DnsNames, part("Other names it answers to on this network.")] = ()
    ipv4_address: Annotated[
        Ipv4 | None, part("Fixed IPv4 address, inside the network's subnet.", default="a free one, kept")
    ] = None
    ipv6_address: Annotated[
        Ipv6 | None, part("Fixed IPv6 address, inside the network's subnet.", default="a free one, kept")
    ] = None
    link_local_ips: Annotated[Ips, part("Further addresses, which nothing routes.")] = ()
    mac_address: Annotated[Mac | None, part("MAC address of its interface.", default="made from its address")] = None
    interface_name: Annotated[
        LinkName | None, part("Name of the interface inside the container.", default="eth0, eth1, …")
    ] = None
    gw_priority: Annotated[Priority, part("The network with the highest is the default route.")] = 0
    priority: Annotated[Priority, part("Networks are attached from the highest to the lowest.")] = 0


def read_networks(value: Any) -> Any:
    """A list of names as a map of empty attachments; in a map, a name alone is an empty attachment."""
    if isinstance(value, list | tuple):
        return {name: {} for name in collect("networks", value, read_name)}
    if not isinstance(value, dict):
        raise ValueError("is neither a list nor a map; write - and a network's name on each line")
    refuse("networks", [((str(name),), _name_fault(name)) for name in value if not is_name(str(name))])
    return {name: {} if attachment is None else attachment for name, attachment in value.items()}


def _name_fault(name: Any) -> str:
    return f"{name!r} is no network's name; write lower-case letters, digits, and . _ - inside"


Networks = Annotated[
    dict[str, Attachment],
    Spelling(read_networks, "map of attachment", list_of(NAME), values={"type": "null"}, keys=NAME),
]


def mode_of(*words: str, peers: tuple[str, ...] = ()) -> Spelling:
    """Annotation of one of `words`, or of `PEER:NAME` for one of `peers`."""
    choices = (*words, *(f"{peer}:NAME" for peer in peers))

    def read(value: Any) -> str:
        text = read_text(value)
        peer, colon, name = text.partition(":")
        if text in words or (colon and peer in peers and is_name(name)):
            return text
        raise ValueError(f"{text!r} is not known here; write {' or '.join(choices)}")

    name_pattern = NAME["pattern"].removeprefix("^").split("$")[0]
    shapes = "|".join((*words, *(f"{peer}:{name_pattern}" for peer in peers)))
    return Spelling(read, "one of " + ", ".join(choices), pattern(shapes), final=True)


NetworkMode = Annotated[str, mode_of("bridge", "host", "none", peers=("container", "service"))]
PidMode = Annotated[str, mode_of("private", "host", peers=("container", "service"))]
IpcMode = Annotated[str, mode_of("private", "shareable", "none", "host", peers=("container", "service"))]
UtsMode = Annotated[str, mode_of("private", "host")]
CgroupMode = Annotated[str, mode_of("private", "host")]
UsernsMode = Annotated[str, mode_of("private", "host")]
