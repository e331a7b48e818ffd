"""How containers and images speak of an image: references, platforms, when to pull."""

import re
from typing import Annotated, Any

from schemas.plain_types import NAME, is_name, one_of, read_line, read_text
from schemas.reference import REFERENCE_PATTERN, Reference
from schemas.spelling import Spelling, pattern

ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm/v7", "i386": "386"}
"""Names that other tools use, as image-spec's (Go's) names."""
_PART = re.compile(r"[a-z0-9_.-]{1,32}")


def read_reference(value: Any) -> str:
    """A reference, with registry, library/ and tag filled in. Raises ValueError."""
    return str(Reference.parse(read_line(value)))


def read_image_name(value: Any) -> str:
    """Name of an Image manifest, or a reference: as written, since only the other manifests tell which."""
    text = read_line(value)
    if not is_name(text):
        Reference.parse(text)
    return text


def read_platform(value: Any) -> str:
    """`linux/arm64/v8`, `arm64`: as `os/architecture[/variant]`. Raises ValueError."""
    parts = read_text(value).strip().lower().split("/")
    if len(parts) == 1 and parts[0] != "linux":
        parts = ["linux", *parts]
    if parts[0] != "linux":
        raise ValueError(f"{value!r} is not Linux; write linux/amd64, linux/arm64, …")
    if not 2 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"{value!r} is no platform; write OS/ARCHITECTURE, as in linux/arm64")
    parts[1] = ARCHITECTURES.get(parts[1], parts[1])
    return "/".join(parts)


REFERENCE = pattern(f"{REFERENCE_PATTERN}|[A-Z0-9][A-Za-z0-9.-]*(:[0-9]+)?/.+")
PLATFORM = pattern(r"(linux/)?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?")

ImageReference = Annotated[str, Spelling(read_reference, "image reference", REFERENCE, final=True)]
ImageName = Annotated[
    str, Spelling(read_image_name, "image's name or reference", {"anyOf": [NAME, REFERENCE]}, final=True)
]
Platform = Annotated[str, Spelling(read_platform, "platform", PLATFORM, final=True)]
PullPolicy = Annotated[str, one_of("always", "missing", "never", also={"if_not_present": "missing"})]
