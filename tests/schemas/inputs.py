"""Whole inputs out of nothing: manifests that load, name only what is there, and do not get into each other's way.

`inputs()` draws manifests, adds what they name, and takes out the fields that `check` blames: so that a planner's
property tests see volumes, networks and dependencies, and not mostly refusals.
"""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

from schemas.check import check
from schemas.envelope import Declared
from schemas.load import Text, load
from schemas.mentions import mentions_of
from schemas.names import API_VERSION, Key, Kind
from tests.schemas.strategies import Strategy, manifests

Documents = dict[tuple[str, str], dict[str, Any]]
LEAST: dict[Kind, dict[str, Any]] = {
    Kind.CONTAINER: {"image": "busybox"},
    Kind.SERVICE: {"image": "busybox"},
    Kind.SECRET: {"content": "hidden"},
    Kind.CONFIG: {"content": "shown"},
    Kind.SOURCE: {"directory": "/srv/manifests"},
    Kind.IMAGE: {"ref": "busybox"},
}
"""The least that an object which is named must say."""
ROUNDS = 20


def inputs(*kinds: Kind, max_size: int = 5) -> Strategy:
    """Lists of manifests of `kinds`, or of every kind, and of what those name."""
    return st.lists(manifests(*kinds), max_size=max_size).map(settled).filter(lambda documents: documents is not None)


def settled(drawn: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The manifests, completed and mended; None where that does not come to an end."""
    documents = {(each["kind"], each["metadata"]["name"]): each for each in drawn}
    for _ in range(ROUNDS):
        declared = read(list(documents.values()))
        add_missing(documents, declared)
        problems = check(read(list(documents.values())))
        if not problems:
            return list(documents.values())
        for problem in problems:
            take_out(documents, problem.object, problem.field)
    return None


def read(documents: list[dict[str, Any]]) -> tuple[Declared, ...]:
    return load([Text("any.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))], {})


def add_missing(documents: Documents, declared: tuple[Declared, ...]) -> None:
    """An object for each that is named and not there."""
    for each in declared:
        for mention in mentions_of(each):
            kind = mention.kinds[0]
            if kind is Kind.IMAGE or any((other.value, mention.name) in documents for other in mention.kinds):
                continue
            documents[kind.value, mention.name] = {
                "apiVersion": API_VERSION,
                "kind": kind.value,
                "metadata": {"name": mention.name},
                "spec": LEAST.get(kind, {}),
            }


def take_out(documents: Documents, name: str, field: str) -> None:
    """Remove the blamed field of the spec; the whole manifest where that field must be there."""
    key = Key.parse(name)
    document = documents.get((key.kind.value, key.name))
    found = re.match(r"spec\.([a-z0-9_]+)", field)
    if document is None:
        return
    if found is None or found[1] not in document["spec"] or found[1] == "image":
        del documents[key.kind.value, key.name]
    else:
        document["spec"] = {name: value for name, value in document["spec"].items() if name != found[1]}
