"""The work of `trimtab image pull`, `load` and `import`: an image from elsewhere, its progress shown meanwhile."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from reconciler.caller import caller
from reconciler.cli.image.names import refuse_declared
from reconciler.cli.live import display
from reconciler.registries import read_registries
from reconciler.resolve.expand import implicit_name
from runtime.images.config import ImageConfig
from runtime.images.ensure import ensure_image
from runtime.images.load import import_tar, load_archive
from runtime.images.platforms import Platform
from runtime.images.progress import Report
from runtime.images.record import ImageRecord
from runtime.images.store import image_path, write_image
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference


def pull(layout: Layout, reference: str, platform: str | None, *, quiet: bool) -> ImageRecord:
    """Under the name that a manifest implies which names the reference. Raises Refused, RetryLater."""
    wanted = ImageWanted(
        _implicit_name(reference, platform),
        ref=reference,
        pull_policy="always",
        platform=Platform.parse(platform) if platform else None,
    )
    refuse_declared(layout, wanted.name, wanted.reference())
    with display(quiet=quiet) as shown:
        return ensure_image(layout, wanted, read_registries(layout), shown.report)


def _implicit_name(reference: str, platform: str | None) -> str:
    try:
        return implicit_name(reference, platform)
    except ValueError as error:
        raise Refused(str(error), step="read reference") from error


def load(layout: Layout, file: str, name: str | None, *, quiet: bool) -> tuple[ImageRecord, ...]:
    """Raises Refused for what is no archive."""
    if name is not None:
        refuse_declared(layout, name)
    with _archive(layout, file) as path, display(quiet=quiet) as shown:
        records = load_archive(layout, path, name, progress=shown.report)
    return tuple(_known_by_name(layout, record) if name else record for record in records)


def _known_by_name(layout: Layout, record: ImageRecord) -> ImageRecord:
    """Known by its name as a reference, too, as with Docker: so that a manifest may say `image: NAME`."""
    try:
        tag = str(Reference.parse(record.name))
    except ValueError:
        return record
    named = replace(record, tags=tuple(dict.fromkeys((*record.tags, tag))))
    write_image(layout, named)
    return named


@contextmanager
def _archive(layout: Layout, file: str) -> Iterator[Path]:
    """A path of the archive; what comes by standard input is kept on the engine's disk meanwhile, since which format
    it is shows only at its end."""
    if file != "-" and not caller().is_remote:
        yield Path(file).absolute()
        return
    _require_input(file, "an archive")
    layout.root.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=layout.root, prefix=".load-") as spooled:
        shutil.copyfileobj(sys.stdin.buffer, spooled, 1 << 20)
        spooled.flush()
        yield Path(spooled.name)


def import_rootfs(layout: Layout, name: str, file: str, config: ImageConfig, *, quiet: bool) -> ImageRecord:
    """Raises Refused for what is no tar."""
    image_path(layout, name)
    refuse_declared(layout, name)
    with _tar(file) as source, display(quiet=quiet) as shown:
        try:
            record = import_tar(layout, name, source, config, progress=_naming(file, shown.report))
        except Refused as error:
            what = "standard input" if file == "-" else file
            hint = "give the tar of a root file system; `trimtab image load` reads what docker save wrote"
            raise Refused(f"cannot be imported: {error.message}", object=what, hint=hint) from error
    return _known_by_name(layout, record)


def _naming(file: str, report: Report) -> Report:
    """`report`, with the file's name where the reader of a stream says `-`."""
    return lambda progress: report(replace(progress, subject=file) if progress.subject == "-" else progress)


@contextmanager
def _tar(file: str) -> Iterator[BinaryIO]:
    if file == "-" or caller().is_remote:
        _require_input(file, "a tar")
        yield sys.stdin.buffer
        return
    try:
        source = Path(file).open("rb")  # noqa: SIM115 - closed below, errors of opening told apart
    except OSError as error:
        raise Refused(error.strerror or str(error), step="import", path=file, errno=error.errno) from error
    with source:
        yield source


def _require_input(file: str, what: str) -> None:
    """A client's file comes by standard input, too."""
    if file == "-" and sys.stdin.isatty():
        raise Refused(f"standard input is a terminal, not {what}", hint="name a file, or pipe one in")
