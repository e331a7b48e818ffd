"""Where a container's output goes, and how its files are rotated.

Source: Compose Specification, services, logging; options by the names of Docker's drivers local and json-file.
"""

from typing import Annotated, Any

from pydantic import Field

from schemas import units
from schemas.field import Spec, live, part, restart
from schemas.plain_types import BYTES, one_of, whole
from schemas.spelling import Spelling

Driver = Annotated[str, one_of("local", "json-file", "none")]
MaxFile = Annotated[int, whole(1, 1000)]
LEAST_FILE = 4096
"""Bytes: with less, every line would be a file of its own."""


def read_max_size(value: Any) -> int:
    """Bytes. Raises ValueError with the remedy."""
    size = units.read_bytes(value)
    if size < LEAST_FILE:
        raise ValueError(f"{value!r} is too small for a file of lines; write at least 4k")
    return size


MaxSize = Annotated[int, Spelling(read_max_size, "size", BYTES, final=True)]


class LogOptions(Spec):
    """Rotation of the log's files."""

    max_size: Annotated[
        MaxSize | None,
        Field(alias="max-size"),
        part("A file that reaches this size is rotated.", unit="bytes", default="20m"),
    ] = None
    max_file: Annotated[
        MaxFile | None, Field(alias="max-file"), part("Files kept, the one written to included.", default="5")
    ] = None


class Logging(Spec):
    """What becomes of standard output and standard error."""

    driver: Annotated[Driver, restart("`local` (compact), `json-file` (one JSON object a line) or `none`.")] = "local"
    options: Annotated[LogOptions, live("Rotation of the log's files.")] = LogOptions.model_construct()
