"""The work of `trimtab image sign` and `verify`: an image of a registry, and files of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from reconciler.cli.image.names import reference_of
from reconciler.images.trusting import read_policy
from reconciler.registries import read_registries
from runtime.images.from_registry import read_subject, resolve_image
from runtime.images.trust.listed import is_listed, line_of
from runtime.images.trust.verify import require_trusted
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.image_verify import VerifySpec


def sign(layout: Layout, reference: str, key: str, listed: str | None) -> None:
    """In its registry, or by a line of a list. Raises Refused, RetryLater."""
    settings, wanted, content = read_registries(layout), reference_of(reference), _content(key)
    subject = read_subject(wanted, settings)
    if listed is not None:
        _add(Path(listed), content, subject.digest, str(replace(wanted, digest=None)))
    else:
        from runtime.images.trust.attach import sign_image

        sign_image(layout, wanted, subject, content, settings)
    click.echo(str(replace(wanted, digest=subject.digest)))


def verify(layout: Layout, reference: str, keys: Sequence[str], listed: str | None) -> None:
    """Says so where it is signed. Raises Refused, RetryLater."""
    settings, wanted = read_registries(layout), reference_of(reference)
    if listed is not None and len(keys) != 1:
        raise Refused("a list has one key", step="verify", hint="name it with --key")
    spec = VerifySpec(list=listed, list_key=keys[0]) if listed is not None else VerifySpec(keys=tuple(keys))
    digest = resolve_image(wanted, settings)
    require_trusted(read_policy(spec), wanted, (digest,), settings)
    click.echo(str(replace(wanted, digest=digest)))


def _add(path: Path, key: bytes, digest: str, what: str) -> None:
    """Once; on the disk when it returns."""
    try:
        there = path.read_text() if path.exists() else ""
        if is_listed(key, there, digest):
            return
        with path.open("a") as file:
            file.write(("" if there.endswith("\n") or not there else "\n") + line_of(key, digest, what))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused(error.strerror or str(error), step="sign", path=str(path), errno=error.errno) from error


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Refused(error.strerror or str(error), step="sign", path=path, errno=error.errno) from error
