"""What is wrong between objects: each case is a whole input, and every problem that it has."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.check import check
from schemas.cycles import cycles
from schemas.envelope import Declared
from schemas.load import Text, load
from schemas.names import Key, Kind


def declare(*lines: str, file: str = "a.yaml") -> tuple[Declared, ...]:
    """Objects of lines like `Container/web {image: nginx}`, each in a line of its own."""
    documents = []
    for line in lines:
        key, _, spec = line.partition(" ")
        kind, name = key.split("/")
        documents.append(
            f"{{apiVersion: trimtab/v1, kind: {kind}, metadata: {{name: {name}}}, spec: {spec or '{}'}}}\n"
        )
    return load([Text(file, "---\n".join(documents))], {})


def problems_of(lines: list[str], *known: str) -> list[str]:
    """Problems without their columns, which these one-line manifests make meaningless."""
    found = check(declare(*lines), [Key.parse(key) for key in known])
    return [f"{problem.place.line} {str(problem).split(' ', 1)[1]}" for problem in found]


def container(name: str, spec: str = "") -> str:
    return f"Container/{name} {{image: a{', ' if spec else ''}{spec}}}"


def service(name: str, spec: str = "", replicas: int = 2) -> str:
    return f"Service/{name} {{image: a, deploy: {{replicas: {replicas}}}{', ' if spec else ''}{spec}}}"


NET = "Network/net {ipam: {config: [{subnet: 10.5.0.0/24, aux_addresses: {router: 10.5.0.9}}]}}"
NET6 = "Network/net {ipam: {config: [{subnet: 10.5.0.0/24}, {subnet: 'fd00:5::/64', gateway: 'fd00:5::ff'}]}}"

FINE = [
    pytest.param([], id="nothing"),
    pytest.param([container("web")], id="a container by itself, on the default network"),
    pytest.param([container("web"), "Volume/web", "Network/web"], id="one name for objects of several kinds"),
    pytest.param([container("web", "networks: [default]")], id="the default network by name"),
    pytest.param(["Image/a {ref: nginx}", container("web")], id="an image by its name"),
    pytest.param(["Image/abc {ref: nginx}", "Container/web {image: nginx}"], id="an image by its reference"),
    pytest.param(
        [
            "Volume/data",
            "Network/front",
            "Secret/key {content: x}",
            "Config/conf {content: x}",
            container(
                "web", "volumes: ['data:/x', './y:/y', '/z'], networks: [front], secrets: [key], configs: [conf]"
            ),
        ],
        id="everything it names is declared",
    ),
    pytest.param([container("a", "depends_on: [b]"), container("b", "depends_on: [c]"), service("c")], id="a chain"),
    pytest.param([container("a", "depends_on: {b: {required: false}}")], id="a dependency that is not required"),
    pytest.param([service("web"), container("a", "network_mode: 'container:web-2'")], id="a replica by its name"),
    pytest.param([service("web"), container("a", "network_mode: 'service:web', pid: 'service:web'")], id="a service"),
    pytest.param(
        [container("a", "ports: ['127.0.0.1:80:80']"), container("b", "ports: ['127.0.0.2:80:80', '80:80/udp']")],
        id="one port on two addresses, and by two protocols",
    ),
    pytest.param(
        [container("a", "ports: ['0.0.0.0:80:80']"), container("b", "ports: ['[::]:80:80']")],
        id="one port on both families",
    ),
    pytest.param([container("a", "ports: ['80']"), container("b", "ports: ['80']")], id="ports without a number"),
    pytest.param(
        [container("a", "ports: ['80:80']"), container("b", "ports: ['80-81:80']")], id="a range with one free port"
    ),
    pytest.param([service("web", "ports: ['80:80']")], id="replicas behind one published port"),
    pytest.param([service("web", "ports: [{target: 80, published: 80-81, mode: host}]")], id="a port for each replica"),
    pytest.param(
        [NET, container("a", "networks: {net: {ipv4_address: 10.5.0.5}}"), container("b", "networks: [net]")],
        id="a fixed address inside its network",
    ),
    pytest.param(
        [NET6, container("a", "networks: {net: {ipv4_address: 10.5.0.254}}")],
        id="the last address of a network",
    ),
    pytest.param(
        ["Network/net {external: true}", container("a", "networks: {net: {ipv4_address: 10.5.0.5}}")],
        id="a fixed address in a network that others made",
    ),
    pytest.param(
        [
            NET,
            NET.replace("/net", "/two").replace("10.5.0", "10.5.1"),
            NET6.replace("/net", "/six").replace("10.5.0", "10.6.0"),
        ],
        id="networks side by side",
    ),
    pytest.param(["Source/a {directory: x, depends_on: [b]}", "Source/b {directory: y}"], id="sources"),
]


@pytest.mark.parametrize("lines", FINE)
def test_nothing_is_wrong_with(lines: list[str]) -> None:
    assert problems_of(lines) == []


WRONG = [
    pytest.param(
        [container("web"), container("web")],
        ["3 Container/web: was already declared at a.yaml:1:1; remove one of the two, or rename it"],
        id="an object twice",
    ),
    pytest.param(
        ["Volume/data", container("web", "volumes: ['dat:/x']")],
        ["3 Container/web spec.volumes[0].source: there is no Volume dat; did you mean data?"],
        id="a volume that is misspelled",
    ),
    pytest.param(
        [container("web", "networks: [front]")],
        ["1 Container/web spec.networks.front: there is no Network front; declare it, with kind: Network"],
        id="a network that is not there",
    ),
    pytest.param(
        ["Secret/key {content: x}", "Config/conf {content: x}", container("web", "secrets: [ke], configs: [key]")],
        [
            "5 Container/web spec.secrets[0].source: there is no Secret ke; did you mean key?",
            "5 Container/web spec.configs[0].source: there is no Config key; declare it, with kind: Config",
        ],
        id="a secret and a config",
    ),
    pytest.param(
        ["Image/frontend {ref: nginx}", "Container/web {image: fronted}"],
        [
            (
                "3 Container/web spec.image: there is no Image fronted; "
                "did you mean frontend? For the registry's image write docker.io/library/fronted"
            )
        ],
        id="an image that is misspelled",
    ),
    pytest.param(
        [container("a", "depends_on: [databse]"), service("database")],
        ["1 Container/a spec.depends_on.databse: there is no Container or Service databse; did you mean database?"],
        id="a dependency that is misspelled",
    ),
    pytest.param(
        [container("a", "network_mode: 'service:b'"), container("b")],
        [
            (
                "1 Container/a spec.network_mode: there is no Service b; "
                "there is a Container of that name: write container:b"
            )
        ],
        id="a container taken for a service",
    ),
    pytest.param(
        [service("b", replicas=0), container("a", "pid: 'service:b'")],
        ["3 Container/a spec.pid: the Service b has no replica whose namespaces could be entered; give it"],
        id="a service without replicas, whose namespaces nobody has",
    ),
    pytest.param(
        [container("a", "pid: 'container:web-3'"), service("web")],
        ["1 Container/a spec.pid: there is no Container web-3; did you mean web-2?"],
        id="a replica beyond the last",
    ),
    pytest.param(
        ["Source/a {git: {url: 'https://x.org/a', secret: k}, depends_on: [b]}"],
        [
            "1 Source/a spec.git.secret: there is no Secret k; declare it, with kind: Secret",
            "1 Source/a spec.depends_on[0]: there is no Source b; declare it, with kind: Source",
        ],
        id="what a source names",
    ),
    pytest.param(
        [container("a", "depends_on: [a]")],
        ["1 Container/a spec.depends_on.a: waits for itself: Container/a -> Container/a; remove one of these"],
        id="a container that waits for itself",
    ),
    pytest.param(
        [container("b", "depends_on: [c]"), container("c", "ipc: 'service:a'"), service("a", "depends_on: [b]")],
        [
            (
                "1 Container/b spec.depends_on.c: waits for itself: "
                "Container/b -> Container/c -> Service/a -> Container/b; remove one of these"
            )
        ],
        id="a cycle of three",
    ),
    pytest.param(
        [
            container("a", "depends_on: [b]"),
            container("b", "depends_on: [a]"),
            container("c", "depends_on: [d, a]"),
            container("d", "depends_on: [c]"),
        ],
        [
            "1 Container/a spec.depends_on.b: waits for itself: Container/a -> Container/b -> Container/a; remove",
            "5 Container/c spec.depends_on.d: waits for itself: Container/c -> Container/d -> Container/c; remove",
        ],
        id="two cycles",
    ),
    pytest.param(
        [service("web"), container("web-1")],
        ["1 Service/web: its replica web-1 has the name of the container at a.yaml:3:1; rename one of the two"],
        id="a container with a replica's name",
    ),
    pytest.param(
        [service("a" * 62)],
        [f"1 Service/{'a' * 62} metadata.name: its replica {'a' * 62}-2 has a name of more than 63 characters"],
        id="a replica's name too long",
    ),
    pytest.param(
        [container("a", "ports: ['8080:80']"), container("b", "ports: ['81:81', '8080:8080']")],
        [
            (
                "3 Container/b spec.ports[1]: 8080/tcp of the host is already published by Container/a at a.yaml:1:89; "
                "publish another port of the host"
            )
        ],
        id="one port of the host twice",
    ),
    pytest.param(
        [container("a", "ports: ['80:80']"), container("b", "ports: ['127.0.0.1:80:80']")],
        ["3 Container/b spec.ports[0]: 127.0.0.1 port 80/tcp of the host is already published by Container/a"],
        id="every address, and one of them",
    ),
    pytest.param(
        [container("a", "ports: ['0.0.0.0:80:80']"), container("b", "ports: ['10.0.0.1:80:80', '[::1]:80:80']")],
        ["3 Container/b spec.ports[0]: 10.0.0.1 port 80/tcp of the host is already published by Container/a"],
        id="every address of a family, and one of them",
    ),
    pytest.param(
        [container("a", "ports: ['80:80', '127.0.0.1:80:81']")],
        ["1 Container/a spec.ports[1]: 127.0.0.1 port 80/tcp of the host is already published by Container/a"],
        id="one port twice in one container",
    ),
    pytest.param(
        [container("b", "ports: ['80-81:80']"), container("a", "ports: ['80:80', '81:81']")],
        ["1 Container/b spec.ports[0]: 80-81/tcp of the host is already published by Container/a at"],
        id="a range of which nothing is left, wherever it stands",
    ),
    pytest.param(
        [container("a", "ports: ['8000-8002:8000-8002', '80:80']"), container("b", "ports: ['8002:1', '80:80']")],
        [
            "3 Container/b spec.ports[0]: 8002/tcp of the host is already published by Container/a at",
            "3 Container/b spec.ports[1]: 80/tcp of the host is already published by Container/a at",
        ],
        id="a port out of a range that is mapped to a range",
    ),
    pytest.param(
        [service("web", "ports: [{target: 80, published: 80, mode: host}]")],
        [
            (
                "1 Service/web spec.ports[0]: 2 replicas cannot each publish 80/tcp of the host; "
                "write mode: ingress, or a range of 2 ports"
            )
        ],
        id="replicas that publish one port each by themselves",
    ),
    pytest.param(
        [NET, container("a", "networks: {net: {ipv4_address: 10.6.0.5}}")],
        [
            (
                "3 Container/a spec.networks.net.ipv4_address: 10.6.0.5 lies outside the network net, "
                "which is 10.5.0.0/24; write an address inside it"
            )
        ],
        id="an address outside its network",
    ),
    pytest.param(
        [
            NET,
            container("a", "networks: {net: {ipv4_address: 10.5.0.1}}"),
            container("b", "networks: {net: {ipv4_address: 10.5.0.9}}"),
            container("c", "networks: {net: {ipv4_address: 10.5.0.0}}"),
            container("d", "networks: {net: {ipv4_address: 10.5.0.255}}"),
        ],
        [
            "3 Container/a spec.networks.net.ipv4_address: 10.5.0.1 is the gateway of the network net; write another",
            "5 Container/b spec.networks.net.ipv4_address: 10.5.0.9 is set aside in the network net",
            "7 Container/c spec.networks.net.ipv4_address: 10.5.0.0 is the address of the network net",
            "9 Container/d spec.networks.net.ipv4_address: 10.5.0.255 is the broadcast address of the network net",
        ],
        id="addresses that no container can have",
    ),
    pytest.param(
        [NET6, container("a", "networks: {net: {ipv6_address: 'fd00:5::ff'}}")],
        ["3 Container/a spec.networks.net.ipv6_address: fd00:5::ff is the gateway of the network net"],
        id="a gateway that is written",
    ),
    pytest.param(
        ["Network/net", container("a", "networks: {net: {ipv4_address: 10.5.0.5}}")],
        [
            (
                "3 Container/a spec.networks.net.ipv4_address: the network net has no IPv4 subnet that is written; "
                "give it one below ipam.config, as subnet: 10.5.0.0/24"
            )
        ],
        id="an address in a network whose subnet is chosen",
    ),
    pytest.param(
        [container("a", "networks: {default: {ipv6_address: 'fd00::5'}}")],
        ["1 Container/a spec.networks.default.ipv6_address: the network default has no IPv6 subnet that is written"],
        id="an address in the default network",
    ),
    pytest.param(
        [
            NET,
            container("a", "networks: {net: {ipv4_address: 10.5.0.5, mac_address: '02:00:00:00:00:01'}}"),
            container("b", "networks: {net: {ipv4_address: 10.5.0.5, mac_address: '02:00:00:00:00:01'}}"),
        ],
        [
            "5 Container/b spec.networks.net.ipv4_address: 10.5.0.5 is already that of Container/a at a.yaml:3:",
            "5 Container/b spec.networks.net.mac_address: 02:00:00:00:00:01 is already that of Container/a at",
        ],
        id="addresses that two containers fix",
    ),
    pytest.param(
        [
            "Network/vlan {driver: ipvlan, driver_opts: {parent: eth0}}",
            container("a", "networks: {vlan: {mac_address: '02:00:00:00:00:01'}}"),
        ],
        [
            "3 Container/a spec.networks.vlan.mac_address: links of the network vlan have the hardware address of",
        ],
        id="a hardware address where all have that of the parent",
    ),
    pytest.param(
        [NET, NET.replace("/net", "/two").replace("10.5.0.0/24", "10.5.0.0/25")],
        ["3 Network/two spec.ipam.config[0].subnet: overlaps the subnet of Network/net at a.yaml:1:"],
        id="networks that overlap",
    ),
    pytest.param(
        [
            "Network/wide {ipam: {config: [{subnet: 10.0.0.0/8}]}}",
            "Network/one {ipam: {config: [{subnet: 10.1.0.0/16}]}}",
            "Network/two {ipam: {config: [{subnet: 10.2.0.0/16}, {subnet: 'fd00::/64'}]}}",
            "Network/six {ipam: {config: [{subnet: 'fd00::/48'}]}}",
        ],
        [
            "3 Network/one spec.ipam.config[0].subnet: overlaps the subnet of Network/wide",
            "5 Network/two spec.ipam.config[0].subnet: overlaps the subnet of Network/wide",
            "7 Network/six spec.ipam.config[0].subnet: overlaps the subnet of Network/two",
        ],
        id="several networks that overlap",
    ),
]


@pytest.mark.parametrize(("lines", "problems"), WRONG)
def test_it_is_refused(lines: list[str], problems: list[str]) -> None:
    found = problems_of(lines)
    assert len(found) == len(problems), found
    for each, wanted in zip(found, problems, strict=True):
        assert each.startswith(wanted)


def test_what_exists_already_is_not_dangling() -> None:
    web = container("web", "networks: [front], volumes: ['data:/x'], depends_on: [db]")
    assert len(problems_of([web])) == 3
    assert problems_of([web], "network/front", "volume/data", "service/db") == []


def test_what_other_sets_declare_is_known_and_taken() -> None:
    theirs = declare(
        NET, container("a", "networks: {net: {ipv4_address: 10.5.0.5}}, ports: ['80:80']"), file="other.yaml"
    )
    ours = declare(
        container("b", "depends_on: [a], networks: {net: {ipv4_address: 10.5.0.5}}, ports: ['80:80']"),
        "Network/mine {ipam: {config: [{subnet: 10.5.0.128/25}]}}",
    )
    found = check(ours, others=theirs)
    assert sorted(problem.field for problem in found) == [
        "spec.ipam.config[0].subnet",
        "spec.networks.net.ipv4_address",
        "spec.ports[0]",
    ]
    assert all("other.yaml" in problem.message for problem in found)
    assert check(theirs, others=ours) != []


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_objects_changes_no_problem(shuffler: random.Random) -> None:
    objects = list(declare(*(line for case in WRONG for line in case.values[0])))  # type: ignore[union-attr]
    before = check(objects)
    shuffler.shuffle(objects)
    assert check(objects) == before


keys = st.integers(0, 6).map(lambda number: Key(Kind.CONTAINER, str(number)))


@given(st.dictionaries(keys, st.lists(keys, max_size=3)))
def test_a_cycle_is_found_where_there_is_one_and_nowhere_else(edges: dict[Key, list[Key]]) -> None:
    found = cycles(edges)
    for cycle in found:
        assert all(after in edges[before] for before, after in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        assert cycle[0] == min(cycle)
    rest = {key: set(targets) for key, targets in edges.items()}
    while leaves := [key for key, targets in rest.items() if not targets & rest.keys()]:
        for key in leaves:
            del rest[key]
    assert bool(found) == bool(rest)


def test_a_chain_of_ten_thousand_is_no_trouble() -> None:
    chain = {Key(Kind.CONTAINER, str(n)): [Key(Kind.CONTAINER, str(n + 1))] for n in range(10_000)}
    assert cycles(chain) == []


def test_a_thousand_objects_are_checked_in_a_moment() -> None:
    lines = [container(f"c{n}", f"ports: ['{8000 + n}:80'], depends_on: [c{max(n - 1, 0)}]") for n in range(1, 1000)]
    objects = declare(container("c0"), *lines)
    before = time.perf_counter()
    assert check(objects) == []
    assert time.perf_counter() - before < 1
