"""The work of `trimtab system check`: what kernel and machine lack. Probing is the kernel room's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from reconciler.cli.outline import outline
from reconciler.cli.table import table_lines
from runtime.kernel.features import Feature, probe
from runtime.layout import Layout
from schemas.names import API_VERSION

REQUIRED = frozenset(
    {
        "root",
        "kernel 6.1",
        "clone3",
        "pidfd",
        "openat2",
        "cgroup namespaces",
        "overlay",
        "cgroups",
        "seccomp",
        "libseccomp",
        "nftables",
        "bridge",
        "veth",
    }
)
"""Without one of these, no container of the default kind can run."""


def print_check(layout: Layout, output: str, *, everything: bool) -> int:
    """The exit code: 1 when something required is missing."""
    features = (_root(), *probe(layout.root))
    lacking = [feature for feature in features if is_missing(feature)]
    if output == "json":
        click.echo(json.dumps(_document(features), indent=2, ensure_ascii=False))
    else:
        for line in _lines(features, everything=everything):
            click.echo(line)
    return 1 if lacking else 0


def is_missing(feature: Feature) -> bool:
    """Whether trimtab does not work without it and it is not there."""
    return not feature.available and feature.name in REQUIRED


def _root() -> Feature:
    """Every probe but this one may say no only because of it."""
    user = os.geteuid()
    return Feature("root", user == 0, f"user id {user}", "everything", "run trimtab as root")


def _lines(features: Sequence[Feature], *, everything: bool) -> Iterator[str]:
    absent = [feature for feature in features if not feature.available]
    if everything:
        present = [(feature.name, feature.detail) for feature in features if feature.available]
        yield from table_lines(("HERE", "DETAIL"), present)
        yield ""
    for feature in absent:
        yield f"missing: {_name(feature)}"
        told = {"switches off": feature.switches_off, "because": feature.detail, "remedy": feature.remedy}
        yield from outline(told, 2)
    if absent:
        yield ""
    required = sum(map(is_missing, features))
    what = f"{required} required missing" if required else "everything required is here"
    yield f"{len(features) - len(absent)} of {len(features)} features are here; {what}."


def _name(feature: Feature) -> str:
    return f"{feature.name} (required)" if feature.name in REQUIRED else feature.name


def _document(features: Sequence[Feature]) -> dict[str, object]:
    items = [asdict(feature) | {"required": feature.name in REQUIRED} for feature in features]
    return {"apiVersion": API_VERSION, "kind": "SystemCheck", "features": items}
