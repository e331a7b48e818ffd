"""What Secret and Config manifests may say: where the content comes from.

Only where: the content is read by whoever applies, and of a secret it never reaches a message.

Source: Compose Specification, secrets and configs.
"""

import re
from typing import Annotated, Any, Self

from pydantic import ConfigDict, model_validator

from schemas.faults import Fault, refuse
from schemas.field import Spec, live, replace
from schemas.paths import FilePath
from schemas.plain_types import Labels, read_text
from schemas.spelling import Spelling, exactly_one, pattern

ORIGINS = ("file", "environment", "content")
MOST_CONTENT = 2**20
"""Bytes of inline content; a kubelet's and swarm's limit is half of it."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_variable(value: Any) -> str:
    """A variable's name. Raises ValueError with the remedy."""
    text = read_text(value)
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"{text!r} is no variable's name; write letters, digits and _, without $")
    return text


def read_content(value: Any) -> str:
    """Text of at most 1 MiB. Raises ValueError with the remedy, and nothing of the content."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError("is no text; write it after | on lines of its own")
    text = str(value)
    if len(text.encode(errors="surrogatepass")) > MOST_CONTENT:
        raise ValueError("is larger than 1 MiB; write it to a file and name that with file:")
    return text


Variable = Annotated[str, Spelling(read_variable, "variable's name", pattern(_VARIABLE.pattern), final=True)]
Content = Annotated[str, Spelling(read_content, "string", {"type": ["string", "number"]}, final=True)]


class ContentSpec(Spec):
    """Content that containers read as a file, from exactly one of file, environment, content."""

    model_config = ConfigDict(json_schema_extra=exactly_one(*ORIGINS))

    file: Annotated[FilePath | None, replace("File with the content, relative to the manifest.")] = None
    environment: Annotated[Variable | None, replace("Variable with the content, of whoever applies.")] = None
    content: Annotated[Content | None, replace("The content itself.")] = None
    labels: Annotated[Labels, live("Notes for people and tools.")] = {}

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        refuse("content", content_faults(self))
        return self


class SecretSpec(ContentSpec):
    """Content that nobody else may see: on tmpfs, never in a message."""

    def __repr_args__(self) -> Any:
        return ((name, "…" if name == "content" else value) for name, value in super().__repr_args__())


def content_faults(spec: ContentSpec) -> list[Fault]:
    """What of a Secret or Config contradicts itself."""
    given = [origin for origin in ORIGINS if getattr(spec, origin) is not None]
    if not given:
        return [((), "does not say where its content comes from; write one of file, environment, content")]
    return [((origin,), f"cannot stand beside {given[0]}; keep one of them") for origin in given[1:]]
