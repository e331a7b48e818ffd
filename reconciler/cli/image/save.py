"""The work of `trimtab image save` and `export`: archives on standard output or in a file, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from reconciler.build.container import read_standing
from reconciler.caller import caller
from reconciler.cli.image.names import image_named
from reconciler.cli.targets import containers_of
from runtime.images.record import ImageRecord
from runtime.images.save import Form, Sink, save_image, save_layout
from runtime.layout import Layout
from schemas.errors import Refused


def save(layout: Layout, name: str, file: str, form: str) -> None:
    """Raises Refused for an image that is not there or damaged, RetryLater on a full disk."""
    record = image_named(layout, name)
    if caller().is_remote:
        _send(layout, record, file, form)
    elif form == "oci-layout":
        if file == "-":
            raise Refused("an OCI layout is a directory", hint="name it with --output")
        save_layout(layout, record, Path(file))
    elif file == "-":
        _send(layout, record, file, form)
    else:
        _write_file(Path(file), "save", lambda sink: save_image(layout, record, sink, Form(form)))


def _send(layout: Layout, record: ImageRecord, file: str, form: str) -> None:
    """To standard output; a client writes its file, or lays out its directory, itself."""
    if file == "-" and form == "oci-layout":
        raise Refused("an OCI layout is a directory", hint="name it with --output")
    if file == "-" and sys.stdout.isatty():
        raise Refused("an archive would confuse the terminal", hint="give --output FILE, or redirect")
    whole = Form("oci-archive") if form == "oci-layout" else Form(form)
    save_image(layout, record, sys.stdout.buffer.write, whole)
    sys.stdout.buffer.flush()


def export(layout: Layout, name: str, file: str) -> None:
    """The file system of a container. Raises Refused where there is no such container, RetryLater on a full disk."""
    standing = read_standing(layout, containers_of(layout, name)[0])

    def write(sink: Sink) -> None:
        try:
            standing.export(layout, sink)
        except OSError as error:
            raise Refused(
                error.strerror or str(error), object=f"Container/{standing.name}", step="export", errno=error.errno
            ) from error

    if file != "-" and not caller().is_remote:
        _write_file(Path(file), "export", write)
        return
    if file == "-" and sys.stdout.isatty():
        raise Refused("an archive would confuse the terminal", hint="give --output FILE, or redirect")
    write(sys.stdout.buffer.write)
    sys.stdout.buffer.flush()


def _write_file(path: Path, step: str, write: Callable[[Sink], None]) -> None:
    """Whole or not at all; a pipe or a device (/dev/null) is written to, and stays what it is."""
    if path.exists() and not path.is_file():
        with path.open("wb") as out:
            write(out.write)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("xb") as out:
            write(out.write)
            out.flush()
            os.fsync(out.fileno())
        temporary.rename(path)
    except OSError as error:
        raise Refused(error.strerror or str(error), step=step, path=str(path), errno=error.errno) from error
    finally:
        temporary.unlink(missing_ok=True)
