"""What was pushed of an image, and where: by name of the image, the digest that each tag was given.

An image may be pushed as another manifest than the one it has here, its layers compressed; so only this file tells
what a registry's tag should name. Lost, the image is pushed again, and nothing is sent that is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.images.blobs import replace_durably
from runtime.layout import Layout


@dataclass(frozen=True, slots=True)
class Pushed:
    """`image`: digest of the manifest here; `how`: what else decides about that there; `tags`: digests there."""

    image: str = ""
    how: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def read_pushed(layout: Layout, name: str) -> Pushed:
    """Nothing where that is not known."""
    try:
        said = json.loads(_path(layout, name).read_bytes())
        tags = {str(tag): str(digest) for tag, digest in said["tags"].items()}
        return Pushed(str(said["image"]), str(said["how"]), tags)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Pushed()


def write_pushed(layout: Layout, name: str, pushed: Pushed) -> None:
    """Durable when it returns. Raises RetryLater when the disk is full."""
    said = {"image": pushed.image, "how": pushed.how, "tags": dict(pushed.tags)}
    replace_durably(_path(layout, name), json.dumps(said).encode())


def forget_pushed(layout: Layout, name: str) -> None:
    """When the image is taken away. Idempotent."""
    _path(layout, name).unlink(missing_ok=True)


def _path(layout: Layout, name: str) -> Path:
    return layout.images / "pushed" / f"{name}.json"
