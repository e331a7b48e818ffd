"""Checks the envelope of a YAML document: apiVersion, kind, metadata; and opens `kind: List`.

Called by `load` between the YAML and the spec's model. Gives for each manifest its key (None when the envelope is too
broken to go on), its metadata, the raw spec, and every problem of the envelope. Does not look into the spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from schemas.envelope import Metadata
from schemas.errors import Place, Problem
from schemas.field_path import Path, format_path
from schemas.names import API_VERSION, NAME_PATTERN, Key, Kind
from schemas.nearest import suggest
from schemas.yaml_text import Document, Spot, find_spot

FIELDS = ("apiVersion", "kind", "metadata", "spec")
METADATA_FIELDS = ("name", "labels", "annotations")
ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    "trimtab/prune": ("disabled", "enabled"),
    "trimtab/reconcile": ("disabled", "enabled"),
}
"""The annotations that mean something to the engine, and what each may say."""

MAX_ITEMS_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest: what its envelope says, and what is wrong with that. No key: the envelope cannot be used."""

    file: str
    key: Key | None
    metadata: Metadata
    spec: dict[str, Any]
    spot: Spot
    problems: tuple[Problem, ...]


def read_manifests(file: str, document: Document) -> Iterator[Manifest]:
    """The manifests of one document: none if it is empty, several if it is a List."""
    yield from _open(file, document.value, document.spot, document.problems, depth=0)


def _open(file: str, value: Any, spot: Spot, problems: tuple[Problem, ...], depth: int) -> Iterator[Manifest]:
    if value is None:
        if problems:
            yield Manifest(file, None, Metadata(""), {}, spot, problems)
        return
    if isinstance(value, dict) and value.get("kind") == "List" and depth < MAX_ITEMS_DEPTH:
        yield from _open_list(file, value, spot, problems, depth)
        return
    yield _Envelope(file, value, spot, problems).read()


def _open_list(
    file: str, value: dict[str, Any], spot: Spot, problems: tuple[Problem, ...], depth: int
) -> Iterator[Manifest]:
    """The items of a List, as kubectl reads it: its apiVersion is `v1` or ours, its metadata says nothing."""
    items = value.get("items")
    envelope = _Envelope(file, value, spot, problems)
    envelope.check_api_version(API_VERSION, "v1")
    envelope.check_unknown((), value, ("apiVersion", "kind", "metadata", "items"))
    if not isinstance(items, list):
        envelope.problem(("items",), "a List needs its manifests", "write them as a list below `items:`")
        items = []
    yield Manifest(file, None, Metadata(""), {}, spot, tuple(envelope.problems))
    below = spot[2]["items"][2] if isinstance(spot[2], dict) and "items" in spot[2] else None
    for index, item in enumerate(items):
        item_spot = below[index] if isinstance(below, list) else spot
        yield from _open(file, item, item_spot, (), depth + 1)


class _Envelope:
    """Collects the problems of one manifest's envelope while reading it."""

    def __init__(self, file: str, value: Any, spot: Spot, problems: tuple[Problem, ...]) -> None:
        self.file = file
        self.value = value
        self.spot = spot
        self.problems = list(problems)
        self.object = ""

    def read(self) -> Manifest:
        if not isinstance(self.value, dict):
            self.problem((), "is not a manifest", "begin with `apiVersion: trimtab/v1` and `kind:`")
            return self.manifest(None, Metadata(""), {})
        self.check_api_version(API_VERSION)
        self.check_unknown((), self.value, FIELDS)
        kind = self.kind()
        metadata = self.metadata()
        if kind is None or not metadata.name:
            return self.manifest(None, metadata, {})
        key = Key(kind, metadata.name)
        self.object = str(key)
        spec = self.value.get("spec")
        if spec is None:
            spec = {}
        if not isinstance(spec, dict):
            self.problem(("spec",), "is not a mapping", "write the fields of the spec below it")
            return self.manifest(None, metadata, {})
        return self.manifest(key, metadata, spec)

    def manifest(self, key: Key | None, metadata: Metadata, spec: dict[str, Any]) -> Manifest:
        problems = tuple(replace(problem, object=problem.object or self.object) for problem in self.problems)
        return Manifest(self.file, key, metadata, spec, self.spot, problems)

    def problem(self, path: Path, message: str, remedy: str) -> None:
        line, column = find_spot(self.spot, path)
        place = Place(self.file, line + 1, column + 1)
        self.problems.append(Problem(place, "", format_path(path), message, remedy))

    def check_api_version(self, *accepted: str) -> None:
        if "apiVersion" not in self.value:
            self.problem((), "apiVersion is missing", f"write `apiVersion: {API_VERSION}`")
        elif self.value["apiVersion"] not in accepted:
            self.problem(
                ("apiVersion",), f"{self.value['apiVersion']!r} is not known here", f"write `apiVersion: {API_VERSION}`"
            )

    def check_unknown(self, path: Path, value: dict[str, Any], known: tuple[str, ...]) -> None:
        for name in value:
            if name not in known and not (path == () and name.startswith("x-")):
                remedy = suggest(name, known, otherwise=f"known here: {', '.join(known)}")
                self.problem((*path, name), "is not a field here", remedy)

    def kind(self) -> Kind | None:
        kinds = [kind.value for kind in Kind]
        given = self.value.get("kind")
        if given is None:
            self.problem((), "kind is missing", f"write `kind:` and one of {', '.join(kinds)}")
            return None
        if given not in kinds:
            remedy = suggest(str(given), kinds, otherwise=f"known kinds: {', '.join(kinds)}")
            self.problem(("kind",), f"{given!r} is not a kind", remedy)
            return None
        return Kind(given)

    def metadata(self) -> Metadata:
        given = self.value.get("metadata")
        if not isinstance(given, dict):
            path: Path = ("metadata",) if "metadata" in self.value else ()
            self.problem(path, "metadata is missing", "write `metadata:` and below it `name:`")
            return Metadata("")
        self.check_unknown(("metadata",), given, METADATA_FIELDS)
        metadata = Metadata(self.name(given), self.texts("labels", given), self.texts("annotations", given))
        self.check_annotations(metadata.annotations)
        return metadata

    def name(self, metadata: dict[str, Any]) -> str:
        name = metadata.get("name")
        if name is None:
            self.problem(("metadata",), "the name is missing", "write `name:` below metadata")
            return ""
        text = str(name)
        if isinstance(name, bool | dict | list) or not re.fullmatch(NAME_PATTERN, text):
            remedy = "use at most 63 of a-z, 0-9, - _ . and begin and end with a letter or digit"
            self.problem(("metadata", "name"), f"{_shorten(text)!r} is not a name", remedy)
            return ""
        return text

    def texts(self, field: str, metadata: dict[str, Any]) -> dict[str, str]:
        """Labels or annotations: text for each name. Numbers and booleans stand for how they were written."""
        given = metadata.get(field)
        if given is None:
            return {}
        if not isinstance(given, dict):
            self.problem(("metadata", field), "is not a mapping", "write `name: text` lines below it")
            return {}
        texts: dict[str, str] = {}
        for name, value in given.items():
            if isinstance(value, dict | list):
                self.problem(("metadata", field, name), "is not text", "write one value, in quotes")
            elif value is None or isinstance(value, bool):
                texts[name] = "" if value is None else str(value).lower()
            else:
                texts[name] = str(value)
        return texts

    def check_annotations(self, annotations: Mapping[str, str]) -> None:
        for name, value in annotations.items():
            if not name.startswith("trimtab/"):
                continue
            path: Path = ("metadata", "annotations", name)
            if name not in ANNOTATIONS:
                known = ", ".join(ANNOTATIONS)
                self.problem(path, "is not an annotation of trimtab", suggest(name, ANNOTATIONS, otherwise=known))
            elif value not in ANNOTATIONS[name]:
                self.problem(path, f"cannot be {value!r}", f"write {' or '.join(ANNOTATIONS[name])}")


def _shorten(text: str) -> str:
    return text if len(text) <= 70 else text[:67] + "..."
