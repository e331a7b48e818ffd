"""The work of `trimtab system fsck`: verify the image store, and bring anew what is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from reconciler.claims import declared_of
from reconciler.cli.live import display
from reconciler.engine import open_engine
from reconciler.images.selection import effective
from reconciler.lock import engine_lock
from reconciler.registries import read_registries
from reconciler.store.inventory import read_inventory
from reconciler.wanted.images import image_wanted
from runtime.images.blobs import BlobStore
from runtime.images.ensure import ensure_image
from runtime.images.fsck import Checked, Damage, Part, check_store, condemn
from runtime.images.hosted.kept import hosted
from runtime.images.record import ImageRecord, Origin
from runtime.images.store import list_images
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.errors import TrimtabError
from schemas.image import ImageSpec
from schemas.names import Kind

LOCK_SECONDS = 30.0
Repositories = Mapping[str, tuple[str, ...]]
"""By digest, the registry's that need it."""
BUILT = "it was built here; `trimtab apply` of its manifest builds it again"


def print_fsck(layout: Layout, output: str, *, repair: bool) -> int:
    """0: nothing is damaged, or everything was mended; 1: something is. Raises RetryLater while another one works."""
    checked, needed = check_store(layout), hosted(layout)
    failures = dict(_repair(layout, checked.damages, needed)) if repair else {}
    if output == "json":
        click.echo(json.dumps(_document(checked, needed, failures, repair=repair), indent=2))
    else:
        for line in _lines(checked, needed, failures, repair=repair):
            click.echo(line)
    return 1 if failures or (checked.damages and not repair) else 0


def _repair(layout: Layout, damages: Sequence[Damage], needed: Repositories) -> Iterator[tuple[str, str]]:
    """Each image and repository that could not be mended, and why."""
    if not damages:
        return
    with engine_lock(layout.lock, LOCK_SECONDS), display(quiet=True) as shown:
        for damage in damages:
            condemn(layout, damage)
        damaged = {name for damage in damages for name in damage.images}
        asked = _asked(layout)
        for record in list_images(layout):
            if record.name not in damaged:
                continue
            spec = asked.get(record.name)
            is_built = record.origin is Origin.BUILD if spec is None else spec.build is not None
            if is_built:
                yield record.name, BUILT
                continue
            try:
                ensure_image(layout, _wanted(record, spec), read_registries(layout), shown.report)
            except (TrimtabError, OSError) as error:
                yield record.name, str(error)
        store = BlobStore(layout)
        for damage in damages:
            if damage.part is Part.BLOB and not store.has(damage.digest):
                yield from (
                    (f"repository {name}", f"push {damage.digest} again") for name in needed.get(damage.digest, ())
                )


def _asked(layout: Layout) -> Mapping[str, ImageSpec]:
    """What the manifests that were applied say of images, with the reference that was chosen where one follows."""
    with open_engine(layout) as engine:
        entries = read_inventory(engine.database).values()
        declared = [declared_of(entry) for entry in entries if entry.key.kind is Kind.IMAGE]
        return {
            item.key.name: effective(engine.database, item.key.name, item.spec)
            for item in declared
            if isinstance(item.spec, ImageSpec)
        }


def _wanted(record: ImageRecord, spec: ImageSpec | None) -> ImageWanted:
    """As its manifest asks for it, whom to believe included; of one that was brought by hand what it was made of, once
    more. Not for one that is built."""
    if spec is not None and spec.commit is None:
        return image_wanted(record.name, spec)
    path = Path(record.reference)
    return ImageWanted(
        record.name,
        ref=record.reference if record.origin is Origin.REF else None,
        archive=path if record.origin is Origin.ARCHIVE else None,
        rootfs=path if record.origin is Origin.ROOTFS else None,
        container=record.reference if record.origin is Origin.CONTAINER else None,
        config=record.config,
        platform=record.platform,
    )


def _lines(checked: Checked, needed: Repositories, failures: Mapping[str, str], *, repair: bool) -> Iterator[str]:
    for damage in checked.damages:
        users = [*damage.images, *(f"repository {name}" for name in needed.get(damage.digest, ()))]
        whose = f" (needed by {', '.join(users) or 'nothing'})"
        yield f"! {damage.part} {damage.digest} {damage.problem}{whose}"
    for name, why in failures.items():
        yield f"! {name if ' ' in name else f'Image/{name}'} cannot be mended: {why}"
    yield f"Verified {checked.blobs} blobs and {checked.layers} layers: {_verdict(checked, failures, repair=repair)}."


def _verdict(checked: Checked, failures: Mapping[str, str], *, repair: bool) -> str:
    if not checked.damages:
        return "all are what their digests say"
    if not repair:
        return f"{len(checked.damages)} damaged; `trimtab system fsck --repair` brings them anew"
    return f"{len(checked.damages)} were damaged, {len(failures)} images could not be mended"


def _document(
    checked: Checked, needed: Repositories, failures: Mapping[str, str], *, repair: bool
) -> dict[str, object]:
    return {
        "apiVersion": "trimtab/v1",
        "kind": "StoreCheck",
        "blobs": checked.blobs,
        "layers": checked.layers,
        "damages": [
            {
                "part": each.part.value,
                "digest": each.digest,
                "problem": each.problem,
                "images": list(each.images),
                "repositories": list(needed.get(each.digest, ())),
            }
            for each in checked.damages
        ],
        "repaired": repair,
        "failures": dict(failures),
    }
