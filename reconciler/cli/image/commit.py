"""The work of `trimtab image commit`: a container's changes as an image, its progress shown meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.cli.image.names import refuse_declared
from reconciler.cli.live import display
from reconciler.cli.targets import containers_of
from reconciler.images.committing import Notes
from reconciler.images.committing import commit as make
from runtime.images.record import ImageRecord
from runtime.images.store import image_path
from runtime.layout import Layout


def commit(
    layout: Layout,
    name: str,
    image: str,
    notes: tuple[str, str],
    changes: Sequence[str],
    *,
    pause: bool,
    quiet: bool,
) -> ImageRecord:
    """`notes`: author and message. Raises Refused, RetryLater, and Invalid for a change that is none."""
    image_path(layout, image)
    refuse_declared(layout, image)
    container = containers_of(layout, name)[0]
    with display(quiet=quiet) as shown:
        return make(layout, container, image, Notes(*notes), changes, pause=pause, progress=shown.report)
