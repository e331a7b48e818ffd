"""Reads a compose file as manifests: each of its services, networks, volumes, secrets and configs is an object.

    services:  a Container each; a Service where `scale` or, below `deploy`, `replicas` and the like are written; and
               an Image of the same name where `build` is
    networks, volumes, secrets, configs:  an object each, called `name:` where that is written; external secrets and
               configs none, since they exist already

Called by `load` for a document that has such sections and no `kind`. Objects are called as in the file, with no
project before: two files that mean different things by one name belong to two engines. A service with `profiles`
counts only when COMPOSE_PROFILES, in the environment, names one of them. Several files are not merged.

Source: Compose Specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.compose_service import Names, Part, kind_of, spec_of
from schemas.envelope import Metadata
from schemas.field_path import Path
from schemas.findings import Findings, without_values
from schemas.manifest import Manifest
from schemas.metadata import is_name, usable_name
from schemas.names import Key, Kind
from schemas.nearest import suggest
from schemas.spec_words import not_a_map, shown
from schemas.yaml_text import Document, spot_below

SECTIONS: Mapping[str, Kind] = {
    "networks": Kind.NETWORK,
    "volumes": Kind.VOLUME,
    "secrets": Kind.SECRET,
    "configs": Kind.CONFIG,
}
IGNORED = ("version", "name")
REFUSED = {"include": "give its files beside this one", "models": "leave it out"}
KNOWN = ("services", *SECTIONS)
EXTERNAL_IS_NO_OBJECT = (Kind.SECRET, Kind.CONFIG)


def is_compose(value: Any) -> bool:
    """Whether a document is a compose file: it has a section of one, and is no manifest."""
    return (
        isinstance(value, dict)
        and not {"kind", "apiVersion"} & value.keys()
        and any(section in value for section in KNOWN)
    )


def read_compose(file: str, document: Document, environment: Mapping[str, str]) -> Iterator[Manifest]:
    """The manifests of a compose file. The first carries the problems of the file itself, and no key."""
    findings = Findings(file, document.spot, list(without_values(document.problems, "secrets")))
    root = Part((), document.value, document.spot)
    _check_sections(root, findings)
    services = [each for each in _parts(root, "services", findings) if _is_active(each, environment)]
    objects = {section: list(_parts(root, section, findings)) for section in SECTIONS}
    names = _names(services, objects)
    made = [manifest for each in services if (manifest := _image(each, names, findings)) is not None]
    made += [manifest for each in services if (manifest := _service(each, names, findings)) is not None]
    for section, parts in objects.items():
        made += [manifest for each in parts if (manifest := _object(SECTIONS[section], each, findings)) is not None]
    yield Manifest(file, None, Metadata(""), {}, document.spot, findings.named(""))
    yield from made


def _check_sections(root: Part, findings: Findings) -> None:
    for name in root.value:
        if name in REFUSED:
            findings.refuse((name,), "is not known to this engine", REFUSED[name])
        elif name not in (*KNOWN, *IGNORED) and not name.startswith("x-"):
            remedy = suggest(name, KNOWN, otherwise=f"known here: {', '.join(KNOWN)}")
            findings.refuse((name,), "is no section of a compose file", remedy)


def _parts(root: Part, section: str, findings: Findings) -> Iterator[Part]:
    """The entries of a section. One without a value has no fields."""
    entries = root.value.get(section)
    if entries is None:
        return
    if not isinstance(entries, dict):
        findings.refuse((section,), not_a_map(entries), "write `name:` lines below it")
        return
    spots = root.spots[section][2]
    for name, value in entries.items():
        path: Path = (section, name)
        if value is None or isinstance(value, dict):
            yield Part(path, value or {}, spot_below(spots, name) or root.spots[section])
        else:
            message = "is not a map" if section == "secrets" else not_a_map(value)
            findings.refuse(path, message, "write its fields below it")


def _is_active(service: Part, environment: Mapping[str, str]) -> bool:
    profiles = service.value.get("profiles")
    wanted = environment.get("COMPOSE_PROFILES", "").split(",")
    return not isinstance(profiles, list) or not profiles or "*" in wanted or any(each in wanted for each in profiles)


def _names(services: list[Part], objects: Mapping[str, list[Part]]) -> Names:
    return Names(
        {
            SECTIONS[section]: {str(each.path[1]): _outside(each, "name") for each in parts}
            for section, parts in objects.items()
        },
        {str(each.path[1]): _outside(each, "container_name") for each in services},
        {str(each.path[1]): kind_of(each.value) for each in services},
    )


def _outside(part: Part, field: str) -> str:
    """What an entry is called outside of the file."""
    given = part.value.get(field)
    return given if isinstance(given, str) else str(part.path[1])


def _service(service: Part, names: Names, findings: Findings) -> Manifest | None:
    inside = str(service.path[1])
    kind, name = names.kinds[inside], names.services[inside]
    if kind is Kind.SERVICE and "container_name" in service.value:
        remedy = "leave it out: replicas are called after the service"
        findings.refuse((*service.path, "container_name"), "is one name, and there may be several replicas", remedy)
        return None
    spec = spec_of(service, names, findings)
    return _manifest(kind, name, service, spec, findings)


def _image(service: Part, names: Names, findings: Findings) -> Manifest | None:
    """The image that a service builds, called as the service is; what the service calls it is one more of its tags."""
    if "build" not in service.value:
        return None
    written = service.value["build"]
    build = {"context": written} if isinstance(written, str) else written
    if not isinstance(build, dict):
        findings.refuse((*service.path, "build"), not_a_map(build), "write its fields below it")
        return None
    context = {} if "context" in build else {"context": "."}
    tags = build.get("tags") or []
    if isinstance(service.value.get("image"), str) and isinstance(tags, list):
        build = {**build, "tags": [*tags, service.value["image"]]}
    spot = spot_below(service.spots, "build") or service.spot
    fields = Part(("spec",), {"build": {**build, **context}}, (spot[0], spot[1], {"build": spot}))
    return _manifest(Kind.IMAGE, names.services[str(service.path[1])], service, fields, findings)


def _object(kind: Kind, part: Part, findings: Findings) -> Manifest | None:
    if kind in EXTERNAL_IS_NO_OBJECT and part.value.get("external"):
        return None
    fields = {name: value for name, value in part.value.items() if name != "name" and not name.startswith("x-")}
    return _manifest(kind, _outside(part, "name"), part, Part(("spec",), fields, part.spot), findings)


def _manifest(kind: Kind, name: str, written: Part, spec: Part, findings: Findings) -> Manifest | None:
    if not is_name(name):
        findings.refuse(written.path, f"{shown(name)} is not a name", usable_name(name))
        return None
    line, column, _ = written.spot
    spot = (line, column, {"spec": spec.spot})
    return Manifest(findings.file, Key(kind, name), Metadata(name), spec.value, spot, ())
