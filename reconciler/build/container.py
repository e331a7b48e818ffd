"""A container as the maker of an image sees it: the image it runs, its writable directory, what is mounted in it.

Read from its bundle, so that it is what the container runs, and not what its manifest says by now.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconciler.build.trees import empty_tree, opened
from reconciler.perform.bundles import read_config
from runtime.images.changes import Change, read_changes
from runtime.images.record import ImageRecord
from runtime.images.store import layer_directories, list_images
from runtime.images.tarwriter import write_opened_tree
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import Key, Kind


@dataclass(frozen=True, slots=True)
class Standing:
    """`layers`: the trees of its image, highest first; `mounted`: paths without a leading slash."""

    name: str
    upper: Path
    layers: tuple[Path, ...]
    mounted: frozenset[bytes]

    def changes(self) -> tuple[Change, ...]:
        """What it has changed. Raises Refused when a layer is gone."""
        try:
            return read_changes(self.upper, self.layers, self.mounted)
        except FileNotFoundError as error:
            raise Refused(
                f"{error.filename} is missing", object=f"Container/{self.name}", step="read changes"
            ) from error

    def export(self, layout: Layout, sink: Callable[[bytes], object]) -> None:
        """All its files as a tar, as its processes see them; of what is mounted in it only the places.

        The same bytes for the same files. Raises Refused, RetryLater (a file changed meanwhile), OSError.
        """
        with opened((self.upper, *self.layers), empty_tree(layout)) as top:
            write_opened_tree(top, sink)


def read_standing(layout: Layout, name: str) -> Standing:
    """Raises Refused where there is no such container."""
    key = Key(Kind.CONTAINER, name)
    bundle = read_config(layout.container(name))
    if bundle is None:
        raise Refused(f"there is no {key}", hint="`trimtab get containers` lists them")
    rootfs = json.loads(bundle["annotations"]["trimtab/rootfs"])
    mounted = (Path(mount["destination"]) for mount in bundle.get("mounts", ()))
    return Standing(
        name,
        Path(rootfs["upper"]),
        tuple(map(Path, rootfs["lower"])),
        frozenset(str(path).strip("/").encode() for path in mounted),
    )


def image_of(layout: Layout, standing: Standing) -> ImageRecord:
    """The image it runs. Raises Refused when that is on this machine no more."""
    for record in list_images(layout):
        if layer_directories(layout, record) == standing.layers:
            return record
    raise Refused(
        f"the image that Container/{standing.name} runs is not on this machine any more",
        hint="its manifest has a newer one by now; `trimtab diff --fs` still lists what the container changed",
    )
