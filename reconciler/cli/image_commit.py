"""The work of `trimtab image commit`: hold the container, take its changes, let it go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reconciler.build.configure import changed
from reconciler.build.container import image_of, read_standing
from reconciler.cli.image_names import refuse_declared
from reconciler.cli.live import display
from reconciler.cli.targets import containers_of
from runtime.images.commit import CommitWanted
from runtime.images.commit import commit as make
from runtime.images.record import ImageRecord
from runtime.images.store import image_path
from runtime.layout import Layout
from runtime.process import client
from runtime.process.records import Phase
from schemas.reference import Reference


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
    standing = read_standing(layout, container)
    base = image_of(layout, standing)
    wanted = CommitWanted(
        image,
        container,
        base,
        standing.upper,
        changed(base.config, changes),
        standing.mounted,
        *notes,
        tags=_tags(image),
    )
    with _held(layout, container) if pause else _as_it_is(), display(quiet=quiet) as shown:
        return make(layout, wanted, progress=shown.report)


def _tags(image: str) -> tuple[str, ...]:
    """What a manifest may say: `image: NAME`."""
    try:
        return (str(Reference.parse(image)),)
    except ValueError:
        return ()


@contextmanager
def _held(layout: Layout, name: str) -> Iterator[None]:
    """Paused, if it runs."""
    process = client.read_process(layout, name)
    if process is None or process.phase is not Phase.RUNNING:
        yield
        return
    client.pause(layout, name)
    try:
        yield
    finally:
        client.resume(layout, name)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
