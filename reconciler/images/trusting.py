"""The files that `Image.spec.verify` names, read: whom an image's maker is to believe.

Their contents are part of the wish: an image is verified again when a key or a list has changed.
"""

from __future__ import annotations

from pathlib import Path

from runtime.images.trust.policy import Policy
from schemas.errors import Refused
from schemas.image_verify import VerifySpec

MOST = 16 << 20
"""Bytes of a list."""


def read_policy(spec: VerifySpec) -> Policy:
    """Raises Refused for a file that cannot be read: nothing is believed then."""
    if spec.list is not None and spec.list_key is not None:
        return Policy(listed=_read(spec.list).decode(errors="replace"), list_key=_read(spec.list_key).strip())
    return Policy(tuple(_read(path) for path in spec.keys))


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise Refused(error.strerror or str(error), step="verify", path=path, errno=error.errno) from error
    if len(content) > MOST or not content.strip():
        raise Refused("is empty" if len(content) <= MOST else "is too long", step="verify", path=path)
    return content
