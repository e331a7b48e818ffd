"""What the reader and the extractor of a layer raise inside the unpacking child, which imports little else."""

from __future__ import annotations


class Unsound(Exception):
    """The layer is refused: `path` is the entry's name inside it, `hint` what to do."""

    def __init__(self, message: str, path: bytes = b"", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint
