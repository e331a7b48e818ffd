"""Manifests of this machine's disk as texts; see `files` for how they are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.sources.files import NOTHING, commit_of, is_stream, read_files, set_name
from schemas.source_text import Text

__all__ = ["commit_of", "is_stream", "read_texts", "set_name"]


def read_texts(paths: Sequence[str], kept: Mapping[str, bytes] = NOTHING) -> list[Text]:
    """The texts of all `paths`, each file once. Raises Refused for a path that cannot be read or holds nothing."""
    return [Text(name, text) for name, text in read_files(paths, kept).items()]
