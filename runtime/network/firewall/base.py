"""The unchanging half of the firewall, as text: sets, maps, chains and rules; everything else is elements of these.

Written by `table.py`. Two tables of one name: `inet` decides, `bridge` sends frames of some networks up to be routed.

The administrator has the last word. Our base chains have policy accept and our accept ends only our own chain, so a
drop in any other table holds; `user` is the administrator's chain, asked first about every packet that is forwarded
from or to our links, and never flushed. Nothing here judges a packet that touches none of our links, but for
`unrouted`: links between which the host did not forward before we switched forwarding on. Protocols are numbers: not
every host has /etc/protocols to tell their names.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.layout import Layout


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: its name, its hook (empty for one that is jumped to) and its rules, in order."""

    name: str
    hook: str
    rules: tuple[str, ...]


SETS = (
    # per network
    ("set", "links", "type ifname"),
    ("set", "internal", "type ifname"),
    ("set", "isolated", "type ifname"),
    ("set", "masqueraded", "type ifname"),
    ("set", "all-gateways4", "type ipv4_addr"),
    ("set", "all-gateways6", "type ipv6_addr"),
    ("set", "subnets4", "type ifname . ipv4_addr; flags interval"),
    ("set", "subnets6", "type ifname . ipv6_addr; flags interval"),
    ("map", "within", "type ifname . ifname : verdict"),
    ("set", "gateways4", "type ifname . ipv4_addr"),
    ("set", "gateways6", "type ifname . ipv6_addr"),
    # per publication
    ("map", "ports4", "type inet_proto . inet_service : ipv4_addr . inet_service"),
    ("map", "ports6", "type inet_proto . inet_service : ipv6_addr . inet_service"),
    ("map", "hosts4", "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"),
    ("map", "hosts6", "type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service"),
    # per Service
    ("map", "balanced", "type inet_proto . inet_service : verdict"),
    ("map", "anywhere4", "type inet_proto . inet_service : verdict"),
    ("map", "anywhere6", "type inet_proto . inet_service : verdict"),
    ("map", "balanced4", "type ipv4_addr . inet_proto . inet_service : verdict"),
    ("map", "balanced6", "type ipv6_addr . inet_proto . inet_service : verdict"),
    ("map", "services4", "type ipv4_addr : verdict"),
    ("map", "services6", "type ipv6_addr : verdict"),
    ("set", "virtual4", "type ipv4_addr"),
    ("set", "virtual6", "type ipv6_addr"),
    ("set", "near4", "type ifname . ipv4_addr"),
    ("set", "near6", "type ifname . ipv6_addr"),
    ("set", "mirrors4", "type ipv4_addr . ipv4_addr"),
    ("set", "mirrors6", "type ipv6_addr . ipv6_addr"),
    # per host
    ("set", "unrouted4", "type ifname"),
    ("set", "unrouted6", "type ifname"),
    ("set", "loopback6", "type ipv6_addr"),
)
"""What the rules below look up in the `inet` table: kind, name, type."""

BRIDGE_SETS = (
    ("map", "routers", "type devgroup : ether_addr"),
    ("set", "apart", "type devgroup"),
)
"""What the `bridge` table looks up: all ports of one bridge are one group of devices (`naming.port_group`)."""

USER_CHAIN = "user"
DISCOVERY = "{ 130, 131, 132, 133, 134, 135, 136, 137, 143 }"
"""ICMPv6 by which neighbours and multicast listeners are found."""

CHAINS = (
    Chain(
        "raw",
        "type filter hook prerouting priority raw; policy accept;",
        (
            # route_localnet is on for our bridges, so that the host reaches published ports at 127.0.0.1
            "iifname @links ip daddr 127.0.0.0/8 drop",
            "iifname @links ip saddr 127.0.0.0/8 drop",
            # what rp_filter does for IPv4
            "iifname @links ip6 saddr != :: fib saddr . iif oif missing drop",
        ),
    ),
    Chain(
        "published",
        "",
        (
            "dnat ip to ip daddr . meta l4proto . th dport map @hosts4",
            "dnat ip6 to ip6 daddr . meta l4proto . th dport map @hosts6",
            "ip daddr . meta l4proto . th dport vmap @balanced4",
            "ip6 daddr . meta l4proto . th dport vmap @balanced6",
            "dnat ip to meta l4proto . th dport map @ports4",
            "dnat ip6 to meta l4proto . th dport map @ports6",
            "meta l4proto . th dport vmap @balanced",
            "meta nfproto ipv4 meta l4proto . th dport vmap @anywhere4",
            "meta nfproto ipv6 meta l4proto . th dport vmap @anywhere6",
        ),
    ),
    Chain(
        "prerouting",
        "type nat hook prerouting priority dstnat; policy accept;",
        (
            "iifname . ip daddr @near4 ip daddr vmap @services4",
            "iifname . ip6 daddr @near6 ip6 daddr vmap @services6",
            "ip daddr @virtual4 accept",
            "ip6 daddr @virtual6 accept",
            # our name server answers there, whoever publishes port 53 of the host
            "iifname . ip daddr @gateways4 th dport 53 accept",
            "iifname . ip6 daddr @gateways6 th dport 53 accept",
            "fib daddr type local goto published",
        ),
    ),
    Chain(
        "output",
        "type nat hook output priority -100; policy accept;",
        (
            "ip daddr vmap @services4",
            "ip6 daddr vmap @services6",
            # where an answer could not come back to ::1, better no connection than one that hangs
            "ip6 daddr ::1 ip6 daddr != @loopback6 accept",
            "fib daddr type local goto published",
        ),
    ),
    Chain(
        "postrouting",
        "type nat hook postrouting priority srcnat; policy accept;",
        (
            # the host itself, talking to a published port at a loopback address
            "oifname @links ip saddr 127.0.0.0/8 masquerade",
            "oifname @links ip6 saddr ::1 masquerade",
            # a replica that reached itself by its Service's address
            "ip saddr . ip daddr @mirrors4 masquerade",
            "ip6 saddr . ip6 daddr @mirrors6 masquerade",
            # a published port reached from its own bridge: the answer must come back through us
            "oifname . ip saddr @subnets4 ct status dnat ct original ip daddr != @virtual4 masquerade",
            "oifname . ip6 saddr @subnets6 ct status dnat ct original ip6 daddr != @virtual6 masquerade",
            "iifname @masqueraded oifname != @links masquerade",
        ),
    ),
    Chain(
        "apart",
        "",
        (
            "ct status dnat accept",
            # where br_netfilter is on, frames that only cross the bridge come by here too
            f"icmpv6 type {DISCOVERY} accept",
            "drop",
        ),
    ),
    Chain(
        "ours",
        "",
        (
            f"jump {USER_CHAIN}",
            "ct state established,related accept",
            "iifname . oifname vmap @within",
            "ct state invalid drop",
            "iifname @internal drop",
            "oifname @internal drop",
            "ct status dnat accept",
            "iifname @isolated oifname @links drop",
            "iifname @links oifname @isolated drop",
            "iifname @links accept",
            # from outside straight to a container, past its published ports
            "drop",
        ),
    ),
    Chain(
        "forward",
        "type filter hook forward priority filter; policy accept;",
        (
            "iifname @links goto ours",
            "oifname @links goto ours",
            "meta nfproto ipv4 iifname @unrouted4 oifname @unrouted4 drop",
            "meta nfproto ipv6 iifname @unrouted6 oifname @unrouted6 drop",
        ),
    ),
    Chain(
        "refuse",
        "",
        (
            "meta l4proto 6 reject with tcp reset",
            "reject",
        ),
    ),
    Chain(
        "confined",
        "",
        (
            "ct state established,related accept",
            "meta l4proto { 6, 17 } th dport 53 accept",
            "meta l4proto { 1, 58 } accept",
            "drop",
        ),
    ),
    Chain(
        "input",
        "type filter hook input priority filter; policy accept;",
        (
            # a Service without a replica: never what the host happens to serve at that port
            "ip daddr @virtual4 ct state new goto refuse",
            "ip6 daddr @virtual6 ct state new goto refuse",
            # another network's gateway, where our name server would tell of that network
            "iifname @links ip daddr @all-gateways4 iifname . ip daddr != @gateways4 ct state new goto refuse",
            "iifname @links ip6 daddr @all-gateways6 iifname . ip6 daddr != @gateways6 ct state new goto refuse",
            "iifname @internal goto confined",
        ),
    ),
    Chain(
        "redirects",
        "type filter hook output priority filter; policy accept;",
        (
            # we route within one bridge on purpose
            "oifname @links icmp type redirect drop",
            "oifname @links icmpv6 type nd-redirect drop",
        ),
    ),
)


BRIDGE_CHAINS = (
    Chain(
        "several",
        "",
        ("iifgroup @apart drop",),
    ),
    Chain(
        "prerouting",
        "type filter hook prerouting priority dstnat; policy accept;",
        (
            # finding neighbours stays the bridge's business: ARP, IPv6 neighbour and multicast listener discovery
            "ether type arp accept",
            f"icmpv6 type {DISCOVERY} accept",
            "ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 goto several",
            "iifgroup @apart ether type != { ip, ip6 } drop",
            "ether type { ip, ip6 } ether daddr set iifgroup map @routers meta pkttype set host",
        ),
    ),
)
"""Send unicast IP between containers of certain networks up to the host, to be routed.

That way connections to a Service's address find their way back through its translation with the client's address
kept, and `icc: false` is a rule of the table `inet`; and br_netfilter, a global switch, is not needed.
"""


def table_text(layout: Layout) -> str:
    """nft commands that make both tables whole, keeping elements and the administrator's chain."""
    return _family("inet", layout.nft_table, SETS, CHAINS, (USER_CHAIN,)) + _family(
        "bridge", layout.nft_table, BRIDGE_SETS, BRIDGE_CHAINS, ()
    )


def _family(
    family: str, table: str, sets: tuple[tuple[str, str, str], ...], chains: tuple[Chain, ...], others: tuple[str, ...]
) -> str:
    declared = [f"{kind} {name} {{ {type_}; }}" for kind, name, type_ in sets]
    declared += [f"chain {name} {{ }}" for name in others]
    declared += [f"chain {chain.name} {{ {chain.hook} }}" for chain in chains]
    text = _block(family, table, declared)
    text += "".join(f"flush chain {family} {table} {chain.name}\n" for chain in chains)
    filled = [f"chain {chain.name} {{\n" + "".join(f"{rule}\n" for rule in chain.rules) + "}" for chain in chains]
    return text + _block(family, table, filled)


def _block(family: str, table: str, lines: list[str]) -> str:
    return f"table {family} {table} {{\n" + "\n".join(lines) + "\n}\n"
