"""Manifests out of nothing, for hypothesis: made from the models, so that a new field is tried without being told of.

`specs(kind)` gives specs as somebody could have written them, long and short forms mixed, all of which the model
accepts; `manifests()` whole manifests; `broken_manifests()` such with one thing wrong. A field's strategy is found by
its name where the type says too little, else by what its type says of itself.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any

from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from schemas.field import Spec, declared_fields, nested_model
from schemas.kernel_words import CAPABILITIES, IPC_SYSCTLS, SIGNALS, ULIMITS
from schemas.names import API_VERSION, Kind
from schemas.spec_models import SPEC_MODELS
from schemas.spelling import Spelling

Strategy = st.SearchStrategy[Any]

LETTERS = "abcdefgh"
PRINTABLE = st.characters(
    min_codepoint=33, max_codepoint=0x2FF, exclude_characters="$\x7f", exclude_categories=("C", "Z")
)
names = st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,8}[a-z0-9])?", fullmatch=True)
words = st.text(LETTERS, min_size=1, max_size=6)
lines = st.text(PRINTABLE, min_size=1, max_size=12)
texts = lines | st.integers(0, 99) | st.booleans()
ports = st.integers(1, 65535)
ipv4 = st.builds("10.{}.{}.{}".format, *[st.integers(1, 254)] * 3)
ipv6 = st.builds("fd00:{:x}::{:x}".format, *[st.integers(1, 0xFFFF)] * 2)
macs = st.builds("02:42:{:02X}:{:02x}-{:02x}-01".replace("-", ":").format, *[st.integers(0, 255)] * 3)
segments = st.lists(words, min_size=1, max_size=3).map("/".join)
container_paths = segments.map("/{}".format)
host_paths = st.builds("{}{}".format, st.sampled_from(["/", "./", "../", "~/"]), segments)
sizes = st.integers(0, 2**40) | st.builds(
    "{}{}".format, st.integers(8, 900), st.sampled_from(["m", "MB", "g", "GiB", " mb"])
)
memory = st.integers(6 << 20, 2**40) | st.builds("{}{}".format, st.integers(8, 900), st.sampled_from(["m", "MiB", "g"]))
durations = (
    st.integers(1, 1000) | st.builds("{}m{}.5s".format, st.integers(0, 59), st.integers(1, 59)) | st.just("250ms")
)
references = st.sampled_from(
    ["nginx", "nginx:1.27", "ghcr.io/a/b@sha256:" + "a" * 64, "localhost:5000/x:y", "[::1]:5000/x/y"]
)
pairs = st.dictionaries(words, texts, max_size=3)
hosts = st.lists(words, min_size=1, max_size=2).map(".".join)
groups = st.integers(0, 65535) | words
ports_short = st.one_of(
    ports,
    ports.map(str),
    st.builds("{}:{}/udp".format, ports, ports),
    st.builds("{}:{}:{}".format, ipv4, ports, ports),
    st.builds("[{}]::{}".format, ipv6, ports),
    st.integers(1, 60000).flatmap(lambda first: st.just(f"{first}-{first + 2}:{first}-{first + 2}")),
    st.just("8000-8010:80"),
)
mounts_short = st.one_of(
    container_paths,
    st.builds("{}:{}".format, names, container_paths),
    st.builds("{}:{}:{}".format, names, container_paths, st.sampled_from(["ro", "rw,nocopy", "z"])),
    st.builds("{}:{}:{}".format, host_paths, container_paths, st.sampled_from(["ro", "rslave,Z", "cached"])),
)
accesses = st.sampled_from(["r", "rw", "mwr"])
devices_short = st.builds("/dev/{}".format, words) | st.builds("/dev/{}:/dev/x{}:{}".format, words, words, accesses)
tmpfs_short = container_paths | container_paths.map("{}:size=1m,mode=1770,exec".format)
signals = st.sampled_from([*SIGNALS, *(f"SIG{name}" for name in SIGNALS), "term", 9, "RTMIN+3", "40"])

SHORT: Mapping[str, Strategy] = {
    "list of port": ports_short,
    "list of mount": mounts_short,
    "list of device": devices_short,
    "list of tmpfs": tmpfs_short,
    "list of grant": names,
    "list of file": host_paths,
}
"""Short forms of an item, by what the type of the list says of itself."""

MAP_VALUES: Mapping[str, tuple[Strategy, Strategy]] = {
    "map of attachment": (names, st.none()),
    "map of dependency": (names, st.none()),
    "map of limit": (st.sampled_from(ULIMITS), st.integers(-1, 2**40)),
    "map of address": (words, ipv4),
}
"""Keys of a map, and short forms of its values."""

BY_TYPE: Mapping[str, Strategy] = {
    "IPv4 address": ipv4,
    "IPv6 address": ipv6,
    "MAC address": macs,
    "URL": st.sampled_from(
        ["https://example.com/a.git", "git@example.com:a/b", "ssh://git@example.com/a", "file:///srv/a"]
    ),
    "access": accesses,
    "address": ipv4 | ipv6,
    "boolean": st.booleans() | st.sampled_from(["true", "False"]),
    "command": lines | st.lists(texts, max_size=3),
    "commit": st.from_regex(r"[0-9a-f]{40}", fullmatch=True),
    "duration": durations,
    "host name": hosts,
    "image reference": references,
    "image's name or reference": references | names,
    "interface name": words,
    "list of address": ipv4 | st.lists(ipv4 | ipv6, max_size=3),
    "list of capability": st.lists(
        st.sampled_from(CAPABILITIES).map(lambda cap: f"CAP_{cap}") | st.sampled_from(CAPABILITIES)
    ),
    "list of device rule": st.lists(st.sampled_from(["c 1:3 mr", "a 7:* rwm", "b *:* m"])),
    "list of group": st.lists(groups, max_size=3),
    "list of path of the host": st.lists(host_paths, max_size=3),
    "list of image reference": st.lists(references.filter(lambda text: "@" not in text), max_size=3),
    "list of instruction": st.lists(st.sampled_from(['CMD ["serve"]', "ENV A=b", "LABEL a=b"]), max_size=3),
    "list of name": st.lists(names.filter(lambda name: "." not in name and "_" not in name), max_size=3),
    "list of option": st.lists(words, max_size=3),
    "list of path in the container": st.lists(container_paths, max_size=3),
    "list of port/protocol": st.lists(ports | st.just("53/udp") | st.just("10-12"), max_size=3),
    "list of processors": st.sampled_from([0, "0-3", "3,1,0-1"]),
    "map of list of address": st.dictionaries(
        words, ipv4 | st.just("host-gateway") | st.lists(ipv6, min_size=1), max_size=2
    )
    | st.lists(st.builds("{}={}".format, words, ipv4), max_size=2),
    "map of string": pairs
    | st.lists(st.builds("{}={}".format, words, lines), max_size=3, unique_by=lambda pair: pair.split("=")[0]),
    "microseconds or duration": st.integers(1000, 1_000_000) | st.just("50ms"),
    "name": names,
    "number": st.sampled_from([0, 0.5, "0.25", 1]),
    "octal mode": st.sampled_from(["0440", "644", "1777", "0o400"]),
    "one of bridge, host, none, container:NAME, service:NAME": st.sampled_from(
        ["bridge", "host", "none", "container:db"]
    ),
    "one of private, host": st.sampled_from(["private", "host"]),
    "one of private, host, container:NAME, service:NAME": st.sampled_from(["host", "container:db", "service:web"]),
    "one of private, shareable, none, host, container:NAME, service:NAME": st.sampled_from(
        ["shareable", "service:web"]
    ),
    "one of replicated": st.just("replicated"),
    "path in the container": container_paths,
    "path of the host": host_paths,
    "absolute path of the host": container_paths,
    "platform": st.sampled_from(["linux/amd64", "arm64", "linux/arm/v7", "x86_64"]),
    "port": ports | ports.map(str),
    "port or range of ports": ports | st.just("8000-8010"),
    "range of versions": st.just(">=1.4 <2"),
    "relative path": segments,
    "restart policy": st.sampled_from(["no", "always", "on-failure", "on-failure:3", "unless-stopped"]),
    "signal": signals,
    "size": sizes,
    "string": lines,
    "windows": st.sampled_from(["Mon-Fri 02:00-04:30", "22:00-06:00"]),
    "subnet": st.builds("10.{}.{}.0/24".format, st.integers(1, 254), st.integers(1, 254)),
    "user": groups | st.builds("{}:{}".format, groups, groups),
    "variable's name": words,
}

BY_NAME: Mapping[str, Strategy] = {
    "test": lines | st.lists(lines, min_size=1, max_size=2).map(lambda command: ["CMD", *command]) | st.just(["NONE"]),
    "sysctls": st.dictionaries(
        st.sampled_from([*sorted(IPC_SYSCTLS), "net.core.somaxconn"]), st.integers(0, 9), max_size=2
    ),
    "security_opt": st.lists(
        st.sampled_from(["seccomp:unconfined", "no-new-privileges", "apparmor=p", "label=disable"])
    ),
    "aliases": st.lists(hosts, max_size=2),
    "o": st.sampled_from(["bind", "rw,noatime", "addr=10.0.0.1"]),
    "max-size": st.integers(4096, 2**40) | st.just("10m"),
    "mem_limit": memory,
    "mem_reservation": memory,
    "memory": memory,
    "memswap_limit": memory | st.just(-1),
    "mem_swappiness": st.integers(0, 100),
}
"""Strategies of fields whose type says too little."""


def leaf(name: str, spelling: Spelling) -> Strategy:
    """Values of a field whose type reads them itself."""
    if name in BY_NAME:
        return BY_NAME[name]
    if spelling.says == "integer":
        bounds = spelling.schema["anyOf"][0]
        numbers = st.integers(bounds.get("minimum", 0), bounds.get("maximum", 1000))
        return numbers | numbers.map(str)
    choices = spelling.schema.get("anyOf", [{}])[0].get("enum")
    if spelling.says.startswith("one of") and choices:
        return st.sampled_from(choices)
    return BY_TYPE[spelling.says]


def values(name: str, annotation: Any) -> Strategy:
    """Values of a field, in any of its spellings."""
    spelling = _spelling(annotation)
    if spelling is not None and spelling.final:
        return leaf(name, spelling)
    model = nested_model(annotation)
    says = spelling.says if spelling else ""
    if says in MAP_VALUES:
        keys, shorter = MAP_VALUES[says]
        return st.dictionaries(keys, shorter | objects(model) if model else shorter, max_size=3)
    assert model is not None, f"no strategy for {name}: {annotation}"
    if says in SHORT:
        return st.lists(SHORT[says] | objects(model), max_size=3)
    return st.lists(objects(model), max_size=2) if _is_list(annotation) else objects(model)


@cache
def objects(model: type[Spec]) -> Strategy:
    """Maps with some of the model's fields; the required ones always."""
    return OBJECTS[model.__name__](model) if model.__name__ in OBJECTS else some_fields(model)


def some_fields(model: type[Spec]) -> Strategy:
    required: dict[str, Strategy] = {}
    optional: dict[str, Strategy] = {}
    for name, field, _ in declared_fields(model):
        if name == "build":
            continue
        annotation: Any = Annotated[field.annotation, *field.metadata]
        (required if field.is_required() else optional)[name] = values(name, annotation)
    few = (
        st.lists(st.sampled_from(sorted(optional)), min_size=min(len(optional), 8) // 4, max_size=16, unique=True)
        if optional
        else st.just([])
    )
    return few.flatmap(lambda chosen: st.fixed_dictionaries({**required, **{name: optional[name] for name in chosen}}))


def mount(model: type[Spec]) -> Strategy:
    """A mount with the options of its type only."""

    def of_type(kind: str) -> Strategy:
        sources = {"volume": names, "bind": host_paths, "image": references}
        options = nested_model(model.model_fields[kind].annotation)
        assert options is not None
        fixed = {"type": st.just(kind), "target": container_paths}
        if kind in sources:
            fixed["source"] = sources[kind]
        return st.fixed_dictionaries(fixed, optional={"read_only": st.booleans(), kind: objects(options)})

    return st.sampled_from(["volume", "bind", "tmpfs", "image"]).flatmap(of_type)


def pool(_: type[Spec]) -> Strategy:
    """A subnet with everything else inside it."""

    def inside(third: int) -> Strategy:
        address = st.integers(2, 120).map(f"10.9.{third}.{{}}".format)
        extra: dict[str, Strategy] = {"gateway": address, "ip_range": st.just(f"10.9.{third}.128/25")}
        extra["aux_addresses"] = st.dictionaries(words, address, max_size=2)
        return st.fixed_dictionaries({"subnet": st.just(f"10.9.{third}.0/24")}, optional=extra)

    return st.integers(0, 255).flatmap(inside) | st.just({})


def ulimit(_: type[Spec]) -> Strategy:
    return st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda pair: {"soft": min(pair), "hard": max(pair)})


def driver_options(_: type[Spec]) -> Strategy:
    return st.sampled_from(
        [
            {"type": "none", "o": "bind", "device": "/srv/a"},
            {"type": "nfs", "o": "addr=10.0.0.1,rw", "device": ":/x"},
            {"type": "tmpfs"},
        ]
    )


def device(_: type[Spec]) -> Strategy:
    source = words.map("/dev/{}".format)
    return st.fixed_dictionaries({"source": source}, optional={"target": container_paths, "permissions": accesses})


OBJECTS: Mapping[str, Callable[[type[Spec]], Strategy]] = {
    "Mount": mount,
    "Pool": pool,
    "Ulimit": ulimit,
    "VolumeDriverOptions": driver_options,
    "Device": device,
}
"""Strategies of models whose fields must fit each other."""


def specs(kind: Kind) -> Strategy:
    """Specs of one kind that its model accepts: fields that contradict others are taken out."""
    model = SPEC_MODELS[kind]
    return objects(model).map(lambda spec: mended(model, spec)).filter(lambda spec: accepts(model, spec))


def accepts(model: type[BaseModel], spec: Any) -> bool:
    try:
        model.model_validate(spec)
    except ValidationError:
        return False
    return True


ORIGIN: Mapping[type[BaseModel], dict[str, Any]] = {
    SPEC_MODELS[Kind.IMAGE]: {"ref": "nginx"},
    SPEC_MODELS[Kind.SECRET]: {"content": "text"},
    SPEC_MODELS[Kind.CONFIG]: {"content": "text"},
    SPEC_MODELS[Kind.SOURCE]: {"directory": "./manifests"},
}
"""What a spec says of its origin when it says nothing of its own."""


def mended(model: type[BaseModel], spec: dict[str, Any]) -> dict[str, Any]:
    """`spec` without the fields that the model blames."""
    rest = dict(spec)
    for _ in range(10):
        try:
            model.model_validate(rest)
        except ValidationError as error:
            for fault in error.errors():
                if fault["loc"]:
                    rest.pop(str(fault["loc"][0]), None)
                else:
                    rest |= ORIGIN.get(model, {})
        else:
            break
    return rest


def manifests(*kinds: Kind) -> Strategy:
    """Manifests of any of `kinds`, of every kind without one."""

    def manifest(kind: Kind) -> Strategy:
        metadata = st.fixed_dictionaries({"name": names}, optional={"labels": pairs})
        return st.fixed_dictionaries(
            {
                "apiVersion": st.just(API_VERSION),
                "kind": st.just(kind.value),
                "metadata": metadata,
                "spec": specs(kind),
            }
        )

    return st.sampled_from(kinds or tuple(Kind)).flatmap(manifest)


junk = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.lists(st.text(max_size=3)), pairs
)


@st.composite
def broken_manifests(draw: st.DrawFn) -> dict[str, Any]:
    """A manifest in which one value, at any depth, is replaced, removed, or given a neighbour with an unknown name."""
    manifest: dict[str, Any] = draw(manifests())
    holder: Any = manifest
    while True:
        inner = [value for value in _items(holder) if isinstance(value, dict | list) and value]
        if not inner or draw(st.booleans()):
            break
        holder = draw(st.sampled_from(inner))
    key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else list(range(len(holder)))))
    damage = draw(st.sampled_from(["replace", "remove", "add"]))
    if damage == "replace":
        holder[key] = draw(junk)
    elif damage == "remove":
        del holder[key]
    elif isinstance(holder, dict):
        holder[f"{key}x"] = holder[key]
    else:
        holder.append(draw(junk))
    return manifest


def _items(holder: Any) -> list[Any]:
    return list(holder.values()) if isinstance(holder, dict) else list(holder)


def _spelling(annotation: Any) -> Spelling | None:
    """The outermost Spelling of a type: a field's own before that of its items."""
    if typing.get_origin(annotation) is Annotated:
        inner, *metadata = typing.get_args(annotation)
        own = next((item for item in metadata if isinstance(item, Spelling)), None)
        return own or _spelling(inner)
    if typing.get_origin(annotation) in (tuple, dict):
        return None
    return next((found for item in typing.get_args(annotation) if (found := _spelling(item))), None)


def _is_list(annotation: Any) -> bool:
    if typing.get_origin(annotation) is tuple:
        return True
    if typing.get_origin(annotation) is dict:
        return False
    return any(_is_list(item) for item in typing.get_args(annotation))
