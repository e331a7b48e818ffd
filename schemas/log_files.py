"""Where a container's output goes, and how its files are rotated.

Source: Compose Specification, services, logging; options by the names of Docker's drivers local and json-file.
"""

from typing import Annotated

from pydantic import Field

from schemas.field import Spec, live, part, restart
from schemas.plain_types import Bytes, one_of, whole

Driver = Annotated[str, one_of("local", "json-file", "none")]
MaxFile = Annotated[int, whole(1, 1000)]


class LogOptions(Spec):
    """Rotation of the log's files."""

    max_size: Annotated[
        Bytes | None,
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
