"""Bring an image, or take its record away. Its layers stay while another image or a container names them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.actions import Action
from reconciler.build.cache import files_path, kept
from reconciler.caller import caller
from reconciler.desired import Desired, Observed
from reconciler.perform.bundles import read_config
from reconciler.perform.context import Context
from reconciler.perform.placing import about
from reconciler.store.standing import Topic, write_standing
from reconciler.wanted.images import image_wanted
from runtime.images.attached import forget_unneeded
from runtime.images.collect import collect
from runtime.images.ensure import ensure_image
from runtime.images.progress import Progress, Step
from runtime.images.pushed import forget_pushed
from runtime.images.record import ImageRecord
from runtime.images.store import remove_image
from runtime.layout import Layout
from runtime.volumes.secrets import read_secret_content
from schemas.build import BuildSpec
from schemas.errors import Invalid, Refused
from schemas.image import ImageSpec
from schemas.image_commit import CommitSpec
from schemas.names import Key, Kind

if TYPE_CHECKING:
    from reconciler.build.wanted import Told

SOURCES = ("build", "commit", "ref", "archive", "rootfs")
"""Fields of which an Image has one."""
SHOWN_LINES = 20
"""Of the output before a step failed."""


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    """Bring what the manifest names. Raises Refused, RetryLater."""
    assert want.declared is not None
    spec = want.declared.spec
    assert isinstance(spec, ImageSpec)
    with about("spec", next(name for name in SOURCES if getattr(spec, name) is not None)):
        image = _bring(context, want.key.name, spec)
    if spec.push is not None:
        from reconciler.images.pushing import push_tags  # only where something is pushed

        with about("spec", "push"):
            push_tags(context.engine.layout, spec.push, image, context.registries, context.progress)


def _bring(context: Context, name: str, spec: ImageSpec) -> ImageRecord:
    if spec.build is not None:
        return _build(context, name, spec.build)
    if spec.commit is not None:
        return _commit(context, name, spec.commit)
    if spec.follow is not None:
        from reconciler.images.selection import ensure_chosen

        spec = ensure_chosen(context.engine.database, name, spec, context.registries)
    return ensure_image(context.engine.layout, image_wanted(name, spec), context.registries, context.progress)


def _build(context: Context, name: str, spec: BuildSpec) -> ImageRecord:
    """Output of a RUN that failed is shown with the failure: nobody watches a manifest's build. Raises Refused."""
    from reconciler.build.build import build  # it makes containers, as this package does; and few build anything
    from reconciler.wanted.builds import build_wanted, with_bases_of

    secrets = {each: content for each in spec.secrets if (content := _secret(context, each)) is not None}
    wanted = with_bases_of(build_wanted(name, spec, caller().environment, secrets), context.declared.values())
    heard: deque[str] = deque(maxlen=SHOWN_LINES)

    def tell(told: Told) -> None:
        if told.what == "output":
            heard.append(told.text)
        elif told.what == "begun":
            context.progress(Progress(name, Step.BUILD, told.text))

    try:
        return build(context.engine.layout, wanted, tell, context.progress).record
    except Invalid as error:
        said = "\n".join(str(problem) for problem in error.problems)
        lines = "".join(f"\n  | {line}" for line in heard)
        raise Refused(f"{said}{lines}", object=f"Image/{name}", step="build") from error


def _commit(context: Context, name: str, spec: CommitSpec) -> ImageRecord:
    from reconciler.images.committing import ensure_committed

    try:
        return ensure_committed(context.engine.layout, name, spec, context.progress)
    except Invalid as error:
        said = "\n".join(str(problem) for problem in error.problems)
        raise Refused(said, object=f"Image/{name}", step="commit") from error


def _secret(context: Context, name: str) -> bytes | None:
    found = context.contents.get(Key(Kind.SECRET, name))
    return found if found is not None else read_secret_content(context.engine.layout, Kind.SECRET.value, name)


def collect_unused(layout: Layout) -> None:
    """Free the blobs and layers that no image, no container's root and no build's cache needs. Raises Refused."""
    collect(layout, kept(layout).union(standing_layers(layout)))
    forget_unneeded(layout)


def standing_layers(layout: Layout) -> Iterator[str]:
    """The diffID of every layer that a bundle names: a container keeps its root when its image goes."""
    for bundle in (layout.root / "containers").glob("*"):
        made = read_config(bundle) or {}
        rootfs = json.loads(made.get("annotations", {}).get("trimtab/rootfs", "{}"))
        trees = [rootfs.get("lower", []), *(entry.get("layers", []) for entry in made.get("mounts", ()))]
        for place in (Path(path) for tree in trees for path in tree):
            if place.is_relative_to(layout.layers):
                algorithm, _, encoded = place.relative_to(layout.layers).parts[0].rpartition("-")
                yield f"{algorithm or 'sha256'}:{encoded}"


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """Its record alone; `collect_unused` frees the rest. Idempotent."""
    remove_image(context.engine.layout, key.name)
    forget_pushed(context.engine.layout, key.name)
    write_standing(context.engine.database, Topic.FOLLOWED, {key.name: None})
    files_path(context.engine.layout, key.name).unlink(missing_ok=True)
