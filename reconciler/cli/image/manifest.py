"""The work of `trimtab image manifest` and `trimtab image referrers`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import click

from reconciler.cli.image.names import reference_of
from reconciler.cli.live import display
from reconciler.cli.quantities import size_text
from reconciler.cli.table import table_lines
from reconciler.registries import read_registries
from runtime.images.blobs import BlobStore
from runtime.images.leases import Lease
from runtime.images.registry.lists import ListWanted, create_list, read_list
from runtime.images.registry.referrers import Referrer, list_referrers
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import API_VERSION


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line."""

    target: str
    sources: tuple[str, ...]
    is_added: bool
    annotations: tuple[str, ...]
    dry_run: bool


def make_list(layout: Layout, asked: Asked, *, quiet: bool) -> str:
    """`REFERENCE@DIGEST`, or the list itself. Raises Refused, RetryLater."""
    target = reference_of(asked.target)
    if target.tag is None or target.digest is not None:
        raise Refused(f"{asked.target} names a digest", step="make manifest list", hint="give a tag")
    annotations = dict(_annotation(text) for text in asked.annotations)
    sources = tuple(reference_of(text) for text in asked.sources)
    wanted = ListWanted(target, sources, asked.is_added, annotations)
    with Lease(layout) as lease, display(quiet=quiet) as shown:
        made = create_list(
            BlobStore(layout, lease),
            wanted,
            settings=read_registries(layout),
            progress=shown.report,
            is_pushed=not asked.dry_run,
        )
    return _pretty(made.content) if asked.dry_run else str(replace(target, digest=made.digest))


def show_list(layout: Layout, reference: str) -> str:
    """JSON. Raises Refused, RetryLater."""
    return _pretty(read_list(reference_of(reference), read_registries(layout)).content)


def print_referrers(layout: Layout, reference: str, artifact_type: str, output: str) -> None:
    """As a table or JSON. Raises Refused, RetryLater."""
    digest, found = list_referrers(reference_of(reference), read_registries(layout), artifact_type)
    if output == "json":
        document = {
            "apiVersion": API_VERSION,
            "kind": "Referrers",
            "digest": digest,
            "referrers": [_document(each) for each in found],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo(f"Nothing refers to {digest}.")
        return
    for line in table_lines(("TYPE", "DIGEST", "SIZE", "ABOUT"), list(_rows(found, digest))):
        click.echo(line)


def _rows(found: tuple[Referrer, ...], digest: str) -> Iterator[tuple[str, str, str, str]]:
    for each in found:
        about = "itself" if each.subject == digest else each.subject[:19]
        yield each.artifact_type or each.media_type, each.digest, size_text(each.size), about


def _document(each: Referrer) -> dict[str, object]:
    return {
        "digest": each.digest,
        "mediaType": each.media_type,
        "artifactType": each.artifact_type,
        "size": each.size,
        "subject": each.subject,
        "listedBy": each.told.value,
        "annotations": each.annotations,
    }


def _pretty(content: bytes) -> str:
    return json.dumps(json.loads(content), indent=2, ensure_ascii=False)


def _annotation(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Refused(f"{text!r} is no annotation", step="make manifest list", hint="write NAME=VALUE")
    return name, value
