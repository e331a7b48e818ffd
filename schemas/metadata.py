"""Checks the `metadata` of a manifest: the name, the labels, and the annotations that mean something to the engine.

Called by `manifest`. What is wrong goes to the findings; what can be used is returned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from schemas.envelope import Metadata
from schemas.field_path import Path
from schemas.findings import Findings
from schemas.names import NAME_PATTERN
from schemas.nearest import suggest
from schemas.spec_words import not_a_map, shown
from schemas.windows import is_windows

FIELDS = ("name", "labels", "annotations")
ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    "trimtab/prune": ("disabled", "enabled"),
    "trimtab/reconcile": ("disabled", "enabled"),
    "trimtab/self-heal": ("on", "off", "window"),
    "trimtab/window": (),
}
"""The annotations that mean something to the engine, and what each may say (none: a maintenance window). Those without
`trimtab/` are free."""

BESIDE = ("apiVersion", "kind", "spec")
COMPOSE_SECTIONS = ("services", "networks", "volumes", "secrets", "configs")
"""What a document may begin with that is no manifest, but a compose file."""
LONGEST_NAME = 63
MOST_UNKNOWN = 50
"""Unknown fields of one map that are told; who wrote more did not mean this map."""


def read_metadata(manifest: dict[str, Any], findings: Findings) -> Metadata:
    """The metadata of a manifest. Its name is empty where there is no usable one."""
    given = manifest.get("metadata")
    if not isinstance(given, dict):
        path: Path = ("metadata",) if "metadata" in manifest else ()
        findings.refuse(path, "metadata is missing", "write `metadata:` and below it `name:`")
        return Metadata("")
    refuse_unknown(("metadata",), given, FIELDS, findings)
    metadata = Metadata(
        read_name(given, findings), read_texts(given, "labels", findings), read_texts(given, "annotations", findings)
    )
    _check_annotations(metadata.annotations, findings)
    return metadata


def refuse_unknown(path: Path, value: dict[str, Any], known: tuple[str, ...], findings: Findings) -> None:
    """Refuse every field of `value` that is not known. At the top, names that begin with `x-` are free (Compose)."""
    unknown = [name for name in value if name not in known and not (path == () and name.startswith("x-"))]
    for name in unknown[:MOST_UNKNOWN]:
        elsewhere = "; what describes the object goes below spec" if path == () else ""
        if path == ("metadata",) and name in BESIDE:
            findings.refuse((*path, name), "is not a field here", "indent it less: it stands beside metadata")
            continue
        remedy = suggest(name, known, otherwise=f"known here: {', '.join(known)}{elsewhere}")
        findings.refuse((*path, name), "is not a field here", remedy)


def read_name(metadata: dict[str, Any], findings: Findings) -> str:
    """The object's name; empty when it is missing or not a name."""
    path = ("metadata", "name")
    name = metadata.get("name")
    if name is None:
        findings.refuse(path[:1], "the name is missing", "write `name:` below metadata")
        return ""
    text = str(name)
    if isinstance(name, bool):
        findings.refuse(path, f"{shown(name)} is not a name", "write it in quotes")
        return ""
    if isinstance(name, dict | list) or not is_name(text):
        findings.refuse(path, f"{shown(name)} is not a name", usable_name(name))
        return ""
    return text


def is_name(text: str) -> bool:
    """Whether an object may be called that."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def usable_name(name: object) -> str:
    """A remedy for what is not a name: the nearest text that is one, or what a name is."""
    folded = re.sub(r"[^a-z0-9_.-]+", "-", str(name).lower()).strip("-._")
    if isinstance(name, str) and 0 < len(folded) <= LONGEST_NAME:
        return f"write {folded}"
    return f"write at most {LONGEST_NAME} of a-z, 0-9, - _ . and begin and end with a letter or digit"


def read_texts(metadata: dict[str, Any], field: str, findings: Findings) -> dict[str, str]:
    """Labels or annotations. A number or boolean stands for the text it was written as."""
    given = metadata.get(field)
    if given is None:
        return {}
    if not isinstance(given, dict):
        findings.refuse(("metadata", field), not_a_map(given), "write `name: text` lines below it")
        return {}
    texts: dict[str, str] = {}
    for name, value in given.items():
        if isinstance(value, dict | list):
            findings.refuse(("metadata", field, name), "is not text", "write one value")
        else:
            texts[name] = _text(value)
    return texts


def _text(value: str | float | bool | None) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_annotations(annotations: Mapping[str, str], findings: Findings) -> None:
    for name, value in annotations.items():
        if not name.startswith("trimtab/"):
            continue
        path = ("metadata", "annotations", name)
        if name not in ANNOTATIONS:
            remedy = suggest(name, ANNOTATIONS, otherwise=f"known: {', '.join(ANNOTATIONS)}")
            findings.refuse(path, "is not an annotation of trimtab", remedy)
        elif not ANNOTATIONS[name]:
            if not is_windows(str(value)):
                findings.refuse(path, f"cannot be {shown(value)}", "write it as Mon-Fri 02:00-04:30, or 22:00-06:00")
        elif value not in ANNOTATIONS[name]:
            findings.refuse(path, f"cannot be {shown(value)}", f"write {' or '.join(ANNOTATIONS[name])}")
