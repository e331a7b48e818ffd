"""One service of a compose file as the spec of a Container or a Service.

The fields carry the same names, so nearly all are passed on as they stand, to be checked by the kind's model. What is
different is done here: which kind it becomes, what other objects are called outside of the file, and limits that
Compose lets stand below `deploy`. Called by `compose`; knows nothing of the rest of the file.

Source: Compose Specification, services and deploy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.field_path import Path
from schemas.findings import Findings
from schemas.names import Kind
from schemas.yaml_text import Spot, spot_below

IGNORED = ("container_name", "profiles", "scale", "attach", "develop", "build")
"""Fields that say something to Compose and nothing to a manifest, or that are read elsewhere."""

REFUSED = {
    "extends": "write an anchor, and merge it with <<:",
    "links": "write depends_on:, and aliases below networks:",
    "external_links": "attach both to one network",
    "volumes_from": "name the volumes themselves",
    "label_file": "write labels:",
}
"""Fields that this engine has not, and what to do instead."""

OF_A_SERVICE = ("replicas", "mode", "endpoint_mode", "update_config", "rollback_config")
"""What below `deploy` needs a Service; for the rest a Container has fields of its own."""

LIMITS: Mapping[Path, str] = {
    ("resources", "limits", "cpus"): "cpus",
    ("resources", "limits", "memory"): "mem_limit",
    ("resources", "limits", "pids"): "pids_limit",
    ("resources", "reservations", "memory"): "mem_reservation",
}
REMEDIES: Mapping[Path, str] = {
    ("resources", "reservations", "devices"): "name the device files below devices:, as /dev/dri",
}
JOINING = ("network_mode", "pid", "ipc")
RESTART = {"any": "always", "none": "no", "on-failure": "on-failure"}


@dataclass(frozen=True, slots=True)
class Names:
    """What the things that a compose file names are called outside of it, and which kind each service becomes."""

    objects: Mapping[Kind, Mapping[str, str]]
    services: Mapping[str, str]
    kinds: Mapping[str, Kind]


@dataclass(frozen=True, slots=True)
class Part:
    """A map of the file: its path, its value, and where that was written."""

    path: Path
    value: dict[str, Any]
    spot: Spot

    @property
    def spots(self) -> dict[str, Spot]:
        return self.spot[2] if isinstance(self.spot[2], dict) else {}


def kind_of(service: Mapping[str, Any]) -> Kind:
    """A Service when several replicas are thought of, else a Container."""
    deploy = service.get("deploy")
    several = isinstance(deploy, dict) and any(name in deploy for name in OF_A_SERVICE)
    return Kind.SERVICE if several or "scale" in service else Kind.CONTAINER


def spec_of(service: Part, names: Names, findings: Findings) -> Part:
    """The spec of a service. What cannot be taken over goes to the findings."""
    passed_on = {name for name in service.value if name not in IGNORED and not name.startswith("x-")}
    for name in sorted(REFUSED.keys() & passed_on):
        findings.refuse((*service.path, name), "is not known to this engine", REFUSED[name])
    fields = {name: value for name, value in service.value.items() if name in passed_on - REFUSED.keys()}
    spots = dict(service.spots)
    if kind_of(service.value) is Kind.SERVICE:
        _scale(service, fields, spots)
    elif isinstance(fields.get("deploy"), dict):
        _move_limits(fields, spots, Part((*service.path, "deploy"), fields.pop("deploy"), spots["deploy"]), findings)
    if "build" in service.value:
        fields["image"] = names.services[str(service.path[-1])]
        spots["image"] = spots["build"]
    _rename(fields, names)
    if "container_name" in service.value:
        _answer_to(fields, str(service.path[-1]))
    return Part(("spec",), fields, (service.spot[0], service.spot[1], spots))


def _scale(service: Part, fields: dict[str, Any], spots: dict[str, Spot]) -> None:
    """`scale` is `deploy.replicas` under its older name."""
    deploy = fields.get("deploy", {})
    if "scale" in service.value and isinstance(deploy, dict):
        fields["deploy"] = {"replicas": service.value["scale"], **deploy}
        spots.setdefault("deploy", spots["scale"])


def _move_limits(fields: dict[str, Any], spots: dict[str, Spot], deploy: Part, findings: Findings) -> None:
    """What `deploy` says of the one container, in the container's own fields; those win where both are written."""
    for path, value, spot in _leaves((), deploy.value, deploy.spot):
        name = LIMITS.get(path)
        if path == ("restart_policy", "condition"):
            name, value = "restart", RESTART.get(str(value), value)
        if name is not None:
            fields.setdefault(name, value)
            spots.setdefault(name, spot)
        elif path[0] == "restart_policy" and len(path) == 2:
            fields.setdefault("restart_policy", {})[path[1]] = value
            spots.setdefault("restart_policy", spot)
        elif path[0] != "labels":
            remedy = REMEDIES.get(path[:3], "leave it out, or write replicas: 1 below deploy to have a Service")
            findings.refuse((*deploy.path, *path), "is not known of a single container", remedy)


def _leaves(path: Path, value: Any, spot: Spot) -> list[tuple[Path, Any, Spot]]:
    if not isinstance(value, dict):
        return [(path, value, spot)]
    return [
        leaf for name, each in value.items() for leaf in _leaves((*path, name), each, spot_below(spot[2], name) or spot)
    ]


def _rename(fields: dict[str, Any], names: Names) -> None:
    """Write the names that other objects have outside of the file."""
    for field, kind in (("networks", Kind.NETWORK), ("secrets", Kind.SECRET), ("configs", Kind.CONFIG)):
        fields |= _renamed(fields, field, names.objects[kind])
    fields |= _renamed(fields, "depends_on", names.services)
    volumes = names.objects[Kind.VOLUME]
    if isinstance(fields.get("volumes"), list):
        fields["volumes"] = [_renamed_mount(item, volumes) for item in fields["volumes"]]
    for field in JOINING:
        peer, colon, name = str(fields.get(field, "")).partition(":")
        if colon and peer == "service" and name in names.services:
            fields[field] = f"{names.kinds[name].value.lower()}:{names.services[name]}"


def _answer_to(fields: dict[str, Any], name: str) -> None:
    """A container of another name is reached by its service's name all the same."""
    networks = fields.get("networks")
    if isinstance(networks, list):
        networks = {each: None for each in networks if isinstance(each, str)}
    elif networks is None and "network_mode" not in fields:
        networks = {"default": None}
    if isinstance(networks, dict):
        fields["networks"] = {network: _with_alias(each, name) for network, each in networks.items()}


def _with_alias(attachment: Any, alias: str) -> Any:
    if attachment is None:
        return {"aliases": [alias]}
    if not isinstance(attachment, dict) or not isinstance(attachment.get("aliases", []), list):
        return attachment
    return {**attachment, "aliases": [*attachment.get("aliases", []), alias]}


def _renamed(fields: Mapping[str, Any], field: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The field with every name in it replaced: the keys of a map, the items of a list, their `source`."""
    value = fields.get(field)
    if isinstance(value, dict):
        return {field: {names.get(name, name): each for name, each in value.items()}}
    if isinstance(value, list):
        return {field: [_renamed_item(item, names) for item in value]}
    return {}


def _renamed_item(item: Any, names: Mapping[str, str]) -> Any:
    if isinstance(item, str):
        return names.get(item, item)
    return _renamed_mount(item, names)


def _renamed_mount(item: Any, names: Mapping[str, str]) -> Any:
    if isinstance(item, str):
        source, colon, rest = item.partition(":")
        return names.get(source, source) + colon + rest if colon else item
    if isinstance(item, dict) and isinstance(item.get("source"), str):
        return {**item, "source": names.get(item["source"], item["source"])}
    return item
