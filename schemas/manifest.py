"""Checks the envelope of a YAML document, apiVersion, kind, metadata, and opens `kind: List`.

Called by `load` between the YAML and the spec's model. Gives for each manifest its key (None when the envelope is too
broken to go on), its metadata, the raw spec, and every problem of the envelope. Does not look into the spec.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.envelope import Metadata
from schemas.errors import Problem
from schemas.findings import Findings, without_values
from schemas.foreign import KINDS as FOREIGN_KINDS
from schemas.metadata import COMPOSE_SECTIONS, read_metadata, refuse_unknown
from schemas.names import API_VERSION, Key, Kind
from schemas.nearest import nearest, suggest
from schemas.spec_words import shown
from schemas.yaml_text import Document, Spot

FIELDS = ("apiVersion", "kind", "metadata", "spec")
LIST_FIELDS = ("apiVersion", "kind", "metadata", "items")
KINDS = tuple(kind.value for kind in Kind)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest: what its envelope says, and what is wrong with it. Without a key it cannot be used."""

    file: str
    key: Key | None
    metadata: Metadata
    spec: dict[str, Any]
    spot: Spot
    problems: tuple[Problem, ...]


def read_manifests(file: str, document: Document) -> Iterator[Manifest]:
    """The manifests of one document: none if it is empty, several if it is a List."""
    value = document.value
    problems = document.problems
    if isinstance(value, dict) and value.get("kind") == Kind.SECRET:
        problems = without_values(problems, "spec")
    findings = Findings(file, document.spot, list(problems))
    if isinstance(value, dict) and value.get("kind") == "List":
        yield from _read_list(value, findings)
    elif value is not None or findings.problems:
        yield _read(value, findings)


def _read_list(value: dict[str, Any], findings: Findings) -> Iterator[Manifest]:
    """A List as kubectl writes it: its apiVersion is `v1` or ours, and its metadata says nothing."""
    _check_version(value, (API_VERSION, "v1"), findings)
    refuse_unknown((), value, LIST_FIELDS, findings)
    items = value.get("items")
    if not isinstance(items, list):
        findings.refuse(("items",), "a List needs its manifests", "write them as a list below `items:`")
        items = []
    yield Manifest(findings.file, None, Metadata(""), {}, findings.spot, findings.named(""))
    for item, spot in zip(items, _spots(findings.spot, "items"), strict=False):
        yield _read(item, Findings(findings.file, spot))


def _spots(spot: Spot, field: str) -> list[Spot]:
    below = spot[2][field][2] if isinstance(spot[2], dict) and field in spot[2] else None
    return below if isinstance(below, list) else []


def _read(value: Any, findings: Findings) -> Manifest:
    if not isinstance(value, dict):
        if not findings.problems:
            findings.refuse((), "is not a manifest", f"begin with `apiVersion: {API_VERSION}` and `kind:`")
        return Manifest(findings.file, None, Metadata(""), {}, findings.spot, findings.named(""))
    if not any(field in value for field in FIELDS):
        findings.refuse((), "is neither a manifest nor a compose file", _beginning(value))
        return Manifest(findings.file, None, Metadata(""), {}, findings.spot, findings.named(""))
    _check_version(value, (API_VERSION,), findings)
    refuse_unknown((), value, FIELDS, findings)
    kind = _read_kind(value, findings)
    metadata = read_metadata(value, findings)
    spec = _read_spec(value, findings)
    key = Key(kind, metadata.name) if kind is not None and metadata.name else None
    problems = findings.named(str(key) if key else "")
    return Manifest(findings.file, key if spec is not None else None, metadata, spec or {}, findings.spot, problems)


def _beginning(value: dict[str, Any]) -> str:
    """What a document should begin with, or the section that one of its fields comes near to."""
    near = next((found for name in value if (found := nearest(name, COMPOSE_SECTIONS))), None)
    begin = f"begin with `apiVersion: {API_VERSION}` and `kind:`"
    return f"did you mean {near}?" if near else f"{begin}, or with `services:` as Compose does"


def _check_version(value: dict[str, Any], accepted: tuple[str, ...], findings: Findings) -> None:
    remedy = f"write `apiVersion: {API_VERSION}`"
    if "apiVersion" not in value:
        findings.refuse((), "apiVersion is missing", remedy)
    elif value["apiVersion"] not in accepted:
        findings.refuse(("apiVersion",), f"{shown(value['apiVersion'])} is not known here", remedy)


def _read_kind(value: dict[str, Any], findings: Findings) -> Kind | None:
    given = value.get("kind")
    if given is None:
        findings.refuse((), "kind is missing", f"write `kind:` and one of {', '.join(KINDS)}")
        return None
    if given not in KINDS:
        near = suggest(str(given), KINDS, otherwise=f"known kinds: {', '.join(KINDS)}")
        remedy = FOREIGN_KINDS.get(str(given), near)
        findings.refuse(("kind",), f"{shown(given)} is not a kind", remedy)
        return None
    return Kind(given)


def _read_spec(value: dict[str, Any], findings: Findings) -> dict[str, Any] | None:
    """The spec as written; empty where it is left out, None where it is no map."""
    spec = value.get("spec")
    if spec is not None and not isinstance(spec, dict):
        # never what it is: it may be the content of a Secret
        written = "a list" if isinstance(spec, list) else "one value"
        findings.refuse(("spec",), f"is {written}, not a map", "write the fields of the spec below it")
        return None
    return spec or {}
