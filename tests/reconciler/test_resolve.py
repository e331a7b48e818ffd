"""Resolving, without a machine: what manifests imply is spelled out, what must be unique is handed out and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from reconciler.kinds.limits import resources
from reconciler.plan import plan
from reconciler.resolve.expand import implicit_name
from reconciler.resolve.world import Resolved
from schemas.container import ContainerSpec
from schemas.errors import Invalid, Refused
from schemas.names import Key, Kind
from tests.reconciler.worlds import WORLD, all_converged, container, resolved

IMAGE = """
apiVersion: trimtab/v1
kind: Image
metadata: {name: busybox}
spec: {rootfs: /srv/busybox}
"""


def document(kind: str, name: str, spec: str) -> str:
    return f"---\napiVersion: trimtab/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def box(name: str, more: str = "") -> str:
    return document("Container", name, f"{{image: busybox{', ' if more else ''}{more}}}")


def network(name: str, spec: str = "{}") -> str:
    return document("Network", name, spec)


def facts(found: Resolved, name: str) -> Mapping[str, Any]:
    return found.desired[container(name)].facts


def interfaces(found: Resolved, name: str) -> dict[str, str]:
    return {network: each["interface"] for network, each in facts(found, name)["endpoints"].items()}


# links, routes and ports


def test_links_are_numbered_in_the_order_of_priority() -> None:
    found = resolved(IMAGE + network("a") + network("b") + box("x", "networks: {a: {}, b: {priority: 1}}"))
    assert interfaces(found, "x") == {"b": "eth0", "a": "eth1"}


def test_a_link_keeps_its_name_when_a_network_comes_before_it() -> None:
    first = resolved(IMAGE + network("b") + box("x", "networks: [b]"))
    world = replace(WORLD, leases=first.leases, living=frozenset({"x", "a", "b"}))
    found = resolved(IMAGE + network("a") + network("b") + box("x", "networks: [a, b]"), world)
    assert interfaces(found, "x") == {"a": "eth1", "b": "eth0"}


def test_a_link_that_went_frees_its_name() -> None:
    both = IMAGE + network("a") + network("b")
    first = resolved(both + box("x", "networks: [a]"))
    world = replace(WORLD, leases=first.leases, living=frozenset({"x", "a", "b"}))
    assert interfaces(resolved(both + box("x", "networks: [b]"), world), "x") == {"b": "eth0"}


def test_an_internal_network_is_no_way_out() -> None:
    text = IMAGE + network("a", "{internal: true}") + network("b")
    found = facts(resolved(text + box("x", "networks: [a, b]")), "x")["endpoints"]
    assert (found["a"]["gateways"], found["b"]["gateways"]) == ([], ["10.210.1.1"])


def test_each_family_leaves_by_the_network_that_has_it() -> None:
    text = IMAGE + network("a") + network("b", "{enable_ipv6: true}")
    found = facts(resolved(text + box("x", "networks: [a, b]")), "x")["endpoints"]
    assert found["a"]["gateways"] == ["10.210.0.1"]
    assert [gateway.partition(":")[0] for gateway in found["b"]["gateways"]] == ["fd74"]


def test_ports_are_published_by_the_network_of_the_default_route() -> None:
    text = IMAGE + network("a") + network("b") + box("x", 'networks: {a: {}, b: {gw_priority: 1}}, ports: ["80:80"]')
    assert facts(resolved(text), "x")["published"] == {"tcp 0.0.0.0:80": "10.210.1.2:80"}


def test_a_networks_address_of_the_host_keeps_ports_off_all_others() -> None:
    text = IMAGE + network("a", "{enable_ipv6: true, driver_opts: {host_binding_ipv4: 127.0.0.1}}")
    found = resolved(text + box("x", 'networks: [a], ports: ["80:80"]'))
    assert facts(found, "x")["published"] == {"tcp 127.0.0.1:80": "10.210.0.2:80"}


@pytest.mark.parametrize(
    ("networks", "port", "why"),
    [
        (network("a", "{internal: true}"), "80:80", "all its networks are internal"),
        (network("a"), "[::1]:80:80", "it has no address of that family"),
        (network("a", "{driver: macvlan, driver_opts: {parent: up0}}"), "80:80", "a macvlan"),
    ],
)
@pytest.mark.parametrize("kind", ["Container", "Service"])
def test_a_port_that_nobody_could_reach_is_refused_with_its_place(
    kind: str, networks: str, port: str, why: str
) -> None:
    text = IMAGE + networks + document(kind, "x", f'{{image: busybox, networks: [a], ports: ["{port}"]}}')
    with pytest.raises(Invalid) as refused:
        resolved(text)
    (problem,) = refused.value.problems
    assert why in problem.message
    assert (problem.object, problem.field) == (f"{kind}/x", "spec.ports[0]")
    assert problem.place.line > 1


def test_a_network_of_the_host_is_the_hosts_network() -> None:
    found = resolved(IMAGE + network("a", "{driver: host}") + box("x", "networks: [a]"))
    assert facts(found, "x")["endpoints"] == {}
    assert found.desired[container("x")].fields["spec"]["network_mode"] == "host"


# what was given stays given


def test_a_new_network_takes_no_subnet_of_one_that_lives() -> None:
    first = resolved(IMAGE + network("old") + box("x", "networks: [old]"))
    world = replace(WORLD, leases=first.leases, living=frozenset({"old", "x"}))
    both = resolved(IMAGE + network("a-newer") + network("old"), world)
    assert [str(pool.subnet) for pool in both.pools["old"]] == ["10.210.0.0/24"]
    alone = resolved(IMAGE + network("a-newer"), world)
    assert [str(pool.subnet) for pool in alone.pools["a-newer"]] == ["10.210.1.0/24"]


def test_an_automatic_subnet_keeps_off_the_hosts_routes() -> None:
    found = resolved(network("a"), replace(WORLD, routes=(ip_network("10.210.0.0/16"),)))
    assert [str(pool.subnet) for pool in found.pools["a"]] == ["10.211.0.0/24"]


def test_a_second_pool_is_used_when_the_first_is_full() -> None:
    pools = "{ipam: {config: [{subnet: 10.1.0.0/30}, {subnet: 10.2.0.0/24}]}}"
    found = resolved(IMAGE + network("a", pools) + box("x", "networks: [a]") + box("y", "networks: [a]"))
    assert facts(found, "x")["endpoints"]["a"]["addresses"] == ["10.1.0.2/30"]
    assert facts(found, "y")["endpoints"]["a"] | {"mac": ""} == {
        "attached": True,
        "interface": "eth0",
        "mac": "",
        "addresses": ["10.2.0.2/24"],
        "gateways": ["10.2.0.1"],
    }


@pytest.mark.parametrize(
    ("spec", "own"),
    [
        ("driver: macvlan, driver_opts: {parent: eth0}", True),
        ("driver: macvlan, driver_opts: {parent: eth0, mode: passthru}", False),
        ("driver: ipvlan, driver_opts: {parent: eth0}", False),
    ],
)
def test_a_hardware_address_is_wanted_only_where_the_link_has_one_of_its_own(spec: str, own: bool) -> None:
    pools = "ipam: {config: [{subnet: 10.1.0.0/24}]}"
    found = resolved(IMAGE + network("a", f"{{{spec}, {pools}}}") + box("x", "networks: [a]"))
    assert ("mac" in facts(found, "x")["endpoints"]["a"]) is own


def test_a_network_that_is_full_is_refused() -> None:
    tiny = network("a", "{ipam: {config: [{subnet: 10.1.0.0/30}]}}")
    with pytest.raises(Refused, match="no address is free"):
        resolved(IMAGE + tiny + box("x", "networks: [a]") + box("y", "networks: [a]"))


def test_more_containers_than_a_bridge_has_ports_are_refused_with_the_way_out() -> None:
    """1,023, the kernel's; those of other sets count, Services do not."""
    living = {f"old-{number}": f"10.1.{1 + number // 200}.{number % 200}" for number in range(1022)}
    world = replace(WORLD, leases={"address/a/4": living}, living=frozenset(living))
    wide = IMAGE + network("a", "{ipam: {config: [{subnet: 10.1.0.0/16}]}}") + box("x", "networks: [a]")
    service = document("Service", "s", "{image: busybox, networks: [a], deploy: {replicas: 0}}")
    assert facts(resolved(wide + service, world), "x")["endpoints"]["a"]["addresses"] == ["10.1.0.2/16"]
    with pytest.raises(Refused, match=r"Network/a .*1,024 containers.*1,023; spread them over several networks"):
        resolved(wide + box("y", "networks: [a]"), world)


# images


def test_two_references_that_read_alike_are_two_images() -> None:
    assert implicit_name("example.org/a/b:1") != implicit_name("example.org/a-b:1")
    assert implicit_name("nginx") == implicit_name("docker.io/library/nginx:latest")
    assert implicit_name("nginx", "linux/arm64") != implicit_name("nginx")


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_wishes_for_a_reference_the_newest_counts_in_any_order(order: int) -> None:
    wishes = [
        document("Container", name, f"{{image: nginx, pull_policy: {policy}}}")
        for name, policy in (("a", "never"), ("b", "always"), ("c", "missing"))
    ]
    found = resolved("".join(wishes[::order]))
    (image,) = (want for key, want in found.desired.items() if key.kind is Kind.IMAGE)
    assert image.fields["spec"]["pull_policy"] == "always"


def test_a_mounted_image_is_needed_too() -> None:
    text = IMAGE + box("x", "volumes: [{type: image, source: nginx, target: /srv}]")
    mounted = Key(Kind.IMAGE, implicit_name("nginx"))
    found = resolved(text).desired
    assert mounted in found
    assert mounted in found[container("x")].needs


# limits


def test_devices_are_limited_by_number_and_swap_where_it_is_counted() -> None:
    spec = ContainerSpec.model_validate(
        {"image": "x", "mem_limit": "64m", "blkio_config": {"device_write_bps": [{"path": "/dev/sda", "rate": "1m"}]}}
    )
    found = resources(spec, {"/dev/sda": (8, 0)})
    assert found["blockIO"]["throttleWriteBpsDevice"] == [{"major": 8, "minor": 0, "rate": 1 << 20}]
    assert found["memory"]["swap"] == 128 << 20
    assert "swap" not in resources(spec, {}, swap_accounting=False)["memory"]


# what changes reach


def test_an_attachment_that_says_nothing_is_noticed_when_it_comes_and_goes() -> None:
    nets = IMAGE + network("a") + network("b")
    one, two = resolved(nets + box("x", "networks: [a]")), resolved(nets + box("x", "networks: [a, b]"))
    for before, after in ((one, two), (two, one)):
        made = plan(after.desired, all_converged(before.desired), {})
        (action,) = made.effective
        assert action.describe().startswith("~ Container/x update: spec.networks.b:")


def test_a_part_that_says_nothing_is_as_good_as_none() -> None:
    plain, empty = resolved(IMAGE + box("x")), resolved(IMAGE + box("x", "logging: {}"))
    assert plan(empty.desired, all_converged(plain.desired), {}).empty


def test_log_rotation_that_appears_is_live_and_another_driver_restarts() -> None:
    plain = all_converged(resolved(IMAGE + box("x")).desired)
    rotated = plan(resolved(IMAGE + box("x", "logging: {options: {max-file: 2}}")).desired, plain, {})
    other = plan(resolved(IMAGE + box("x", "logging: {driver: none}")).desired, plain, {})
    assert [action.effect.word for action in rotated.effective] == ["live"]
    assert [action.effect.word for action in other.effective] == ["restart"]


def test_an_old_container_goes_only_when_what_its_successor_needs_is_there() -> None:
    before = all_converged(resolved(document("Container", "x", "{image: 'nginx:1'}")).desired)
    made = plan(resolved(document("Container", "x", "{image: 'nginx:2'}")).desired, before, {})
    (deletion,) = (action for action in made.effective if action.verb.value == "delete")
    assert [str(step) for step in deletion.after] == [f"create Image/{implicit_name('nginx:2')}"]
    assert deletion.reason == "spec.image: nginx:1 → nginx:2"


def test_a_bridge_over_what_the_host_already_reaches_is_refused() -> None:
    text = "apiVersion: trimtab/v1\nkind: Network\nmetadata: {name: n}\n"
    text += "spec: {ipam: {config: [{subnet: 192.0.2.0/25}]}}\n"
    routed = replace(WORLD, routes=(ip_network("192.0.2.0/24"), ip_network("0.0.0.0/1")))
    with pytest.raises(Refused, match=r"192.0.2.0/25 overlaps 192.0.2.0/24"):
        resolved(text, routed)
    assert resolved(text, replace(WORLD, routes=(ip_network("0.0.0.0/1"),))).desired
