"""Reading what nft prints. Pure."""

from __future__ import annotations

import pytest

from runtime.layout import Layout
from runtime.network.firewall.elements import commands, placed
from runtime.network.firewall.listing import Element, parse_listing
from schemas.errors import Refused

TEXT = """table inet trimtab-abc123 {
\tset links {
\t\ttype ifname
\t\telements = { "ttb0" comment "front",
\t\t\t     "ttb1" comment "a, b {c} \\" : d" }
\t}

\tmap ports6 {
\t\ttype inet_proto . inet_service : ipv6_addr . inet_service
\t\telements = { 6 . 8080 comment "web 1" : fd00::2 . 80, 17 . 53 : fd00::3 . 53 }
\t}

\tmap within {
\t\ttype ifname . ifname : verdict
\t\telements = { "ttb0" . "ttb0" : accept,
\t\t\t     "ttb1" . "ttb1" : goto apart }
\t}

\tset counted { # handle 7
\t\ttype ipv4_addr
\t\tflags timeout
\t\telements = { 10.0.0.1 timeout 1h expires 59m59s counter packets 0 bytes 0 comment "x" }
\t}

\tset empty {
\t\ttype ifname
\t}

\tchain user {
\t\tcomment "yours"
\t}

\tchain forward {
\t\ttype filter hook forward priority 0; policy accept;
\t\tiifname @links goto ours
\t}
}
"""


def test_elements_are_read_with_their_comments_and_values() -> None:
    listing = parse_listing(TEXT)
    assert listing.of("links") == (Element(("ttb0",), "front"), Element(("ttb1",), 'a, b {c} \\" : d'))
    assert listing.of("ports6") == (
        Element(("6", "8080"), "web 1", ("fd00::2", "80")),
        Element(("17", "53"), "", ("fd00::3", "53")),
    )
    assert listing.of("within") == (
        Element(("ttb0", "ttb0"), "", ("accept",)),
        Element(("ttb1", "ttb1"), "", ("goto", "apart")),
    )


def test_an_empty_set_is_known_and_a_missing_one_has_no_elements() -> None:
    listing = parse_listing(TEXT)
    assert listing.elements["empty"] == ()
    assert listing.of("nowhere") == ()


def test_additions_of_others_to_an_element_do_not_hide_its_comment() -> None:
    (found,) = parse_listing(TEXT).of("counted")
    assert found.comment == "x"
    assert found.key[0] == "10.0.0.1"


def test_chains_are_read_line_by_line_hook_first() -> None:
    listing = parse_listing(TEXT)
    assert listing.chains["forward"] == (
        "type filter hook forward priority 0; policy accept;",
        "iifname @links goto ours",
    )
    assert listing.chains["user"] == ('comment "yours"',)


def test_nothing_is_an_empty_table() -> None:
    assert parse_listing("").elements == {}


def test_a_changed_value_is_removed_before_it_is_added() -> None:
    layout = Layout()
    have = placed("ports4", "6", 8080, comment="old", value=("10.0.0.2", "80"))
    want = placed("ports4", "6", 8080, comment="new", value=("10.0.0.3", "80"))
    kept = placed("links", "ttb0", comment="front")
    table = f"inet {layout.nft_table}"
    assert commands(layout, [have, kept], [want, kept]) == [
        f"delete element {table} ports4 {{ 6 . 8080 }}",
        f'add element {table} ports4 {{ 6 . 8080 comment "new" : 10.0.0.3 . 80 }}',
    ]


def test_link_names_are_quoted_and_addresses_are_not() -> None:
    layout = Layout()
    (text,) = commands(layout, [], [placed("near6", "ttb0", "fd00::1")])
    assert text.endswith('near6 { "ttb0" . fd00::1 }')
    (text,) = commands(layout, [], [placed("within", "a", "a", value=("goto", "apart"))])
    assert text.endswith('within { "a" . "a" : goto apart }')


@pytest.mark.parametrize("name", ['x" }; flush ruleset; #', "a\nb", "a;b", "a{b", "a\\", "a,b"])
def test_a_name_that_could_end_an_element_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="cannot stand in a firewall rule"):
        commands(Layout(), [], [placed("links", name)])
    with pytest.raises(Refused, match="cannot stand in a firewall rule"):
        commands(Layout(), [], [placed("links", "ttb0", comment=name)])
