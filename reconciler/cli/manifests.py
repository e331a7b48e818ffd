"""Applied objects as manifests again: YAML that applies back to no difference. Pure.

A Service's replicas, images brought by hand and volumes that were kept have no manifest. The inline content of a
Secret is left out unless asked for; without it the manifest is refused when applied, rather than empty it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.cli.columns import origin_text
from reconciler.cli.seen import Seen
from schemas.names import Kind
from schemas.write_yaml import write_documents

ORDER = ("apiVersion", "kind", "metadata", "name", "labels", "annotations", "spec")
HIDDEN = "# spec.content is not shown: --show-secrets shows it"


def manifests_text(seen: Sequence[Seen], *, origin: bool, secrets: bool) -> str:
    """Documents of YAML, without a line's end after the last. `origin`: with a comment where each came from."""
    return "---\n".join(_documents(seen, origin=origin, secrets=secrets)).rstrip("\n")


def _documents(seen: Sequence[Seen], *, origin: bool, secrets: bool) -> Iterator[str]:
    for item in seen:
        if item.entry is None:
            continue
        comments = [f"# {origin_text(item)}"] if origin else []
        comments += [HIDDEN] if is_hidden(item) and not secrets else []
        yield "".join(f"{line}\n" for line in comments) + write_documents([manifest_of(item, secrets=secrets)])


def is_hidden(seen: Seen) -> bool:
    """Whether it is a Secret whose content stands in its manifest."""
    return seen.key.kind is Kind.SECRET and seen.entry is not None and "content" in seen.entry.manifest["spec"]


def manifest_of(seen: Seen, *, secrets: bool) -> Mapping[str, Any]:
    """As it was applied, in canonical form."""
    assert seen.entry is not None
    return shown(seen.entry.manifest, secrets=secrets)


def shown(manifest: Mapping[str, Any], *, secrets: bool) -> Mapping[str, Any]:
    """In the order people look for; a Secret's inline content only where asked for."""
    found = dict(manifest)
    if found["kind"] == Kind.SECRET.value and not secrets:
        found["spec"] = {name: value for name, value in found["spec"].items() if name != "content"}
    return _ordered(found | {"metadata": _ordered(found["metadata"])})


def _ordered(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that people look for first, first."""
    return {name: value[name] for name in sorted(value, key=lambda name: (ORDER.index(name), name))}
