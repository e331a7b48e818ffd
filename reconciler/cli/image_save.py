"""The work of `trimtab image save`: an archive on standard output or in a file, which is there whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from reconciler.caller import caller
from reconciler.cli.image_names import image_named
from runtime.images.record import ImageRecord
from runtime.images.save import Form, save_image, save_layout
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
        _save_file(layout, record, Path(file), Form(form))


def _send(layout: Layout, record: ImageRecord, file: str, form: str) -> None:
    """To standard output; a client writes its file, or lays out its directory, itself."""
    if file == "-" and form == "oci-layout":
        raise Refused("an OCI layout is a directory", hint="name it with --output")
    if file == "-" and sys.stdout.isatty():
        raise Refused("an archive would confuse the terminal", hint="give --output FILE, or redirect")
    whole = Form("oci-archive") if form == "oci-layout" else Form(form)
    save_image(layout, record, sys.stdout.buffer.write, whole)
    sys.stdout.buffer.flush()


def _save_file(layout: Layout, record: ImageRecord, path: Path, form: Form) -> None:
    """Whole or not at all; a pipe or a device (/dev/null) is written to, and stays what it is."""
    if path.exists() and not path.is_file():
        with path.open("wb") as out:
            save_image(layout, record, out.write, form)
        return
    if path.exists() and not path.is_file():
        # a device or a pipe: it must not be replaced by a file
        with path.open("wb") as out:
            save_image(layout, record, out.write, form)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("xb") as out:
            save_image(layout, record, out.write, form)
            out.flush()
            os.fsync(out.fileno())
        temporary.rename(path)
    except OSError as error:
        raise Refused(error.strerror or str(error), step="save", path=str(path), errno=error.errno) from error
    finally:
        temporary.unlink(missing_ok=True)
