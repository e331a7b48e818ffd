"""The files that `Image.spec.verify` names, read: whom an image's maker is to believe.

Their contents are part of the wish: an image is verified again when a key or a list has changed.
"""

from __future__ import annotations

from pathlib import Path

from runtime.images.trust.policy import Policy, read_file
from schemas.image_verify import VerifySpec


def read_policy(spec: VerifySpec) -> Policy:
    """Raises Refused for a file that cannot be read: nothing is believed then."""
    if spec.list is not None and spec.list_key is not None:
        return Policy(
            listed=read_file(Path(spec.list)).decode(errors="replace"), list_key=read_file(Path(spec.list_key)).strip()
        )
    return Policy(tuple(read_file(Path(path)) for path in spec.keys))
