"""Where an image is pushed once it is made: `Image.spec.push`. A list alone names the references.

Whether a registry has it is the reconciler's business.
"""

from typing import Annotated, Any

from schemas.field import Spec, part
from schemas.image_words import REFERENCE, read_reference
from schemas.plain_types import one_of, read_list, words
from schemas.reference import Reference
from schemas.spelling import INTO_BAG, SORTED, Spelling


def read_tagged(value: Any) -> str:
    """A reference with a tag and no digest: that follows from what is pushed. Raises ValueError."""
    text = read_reference(value)
    if Reference.parse(text).digest is not None:
        raise ValueError(f"{text!r} names a digest, which follows from what is pushed; write a tag")
    return text


def _expand(value: Any) -> Any:
    return {"tags": read_list(value)} if isinstance(value, str | list | tuple) else value


Tagged = Annotated[tuple[str, ...], words(read_tagged, "list of image reference", REFERENCE), INTO_BAG, SORTED]

Compression = Annotated[str, one_of("gzip", "zstd", "zstd:chunked")]


class PushSpec(Spec):
    """References that name the image in their registries."""

    tags: Annotated[Tagged, part("References, with tags, that it is pushed as.")]
    compression: Annotated[Compression, part("Of layers that are not compressed yet.")] = "gzip"


Push = Annotated[
    PushSpec,
    Spelling(_expand, "push", {"anyOf": [REFERENCE, {"type": "array", "items": REFERENCE}]}),
]
