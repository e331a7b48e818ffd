"""`Image.spec.push`: the tags named are pushed once the image is made, and looked at afterwards.

Called when an image is observed and made. A registry that cannot be asked is no difference: it is told as a note.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.kinds.image import PUSHED
from runtime.images.heads import Head, read_heads
from runtime.images.pushed import Pushed, read_pushed, write_pushed
from runtime.images.record import ImageRecord
from runtime.images.to_registry import push_image
from runtime.layout import Layout
from schemas.errors import TrimtabError
from schemas.image_push import PushSpec
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.progress import Report
    from runtime.images.registry.settings import RegistrySettings

UNPUSHED = "not pushed"
MISSING = "missing in the registry"


def observed_facts(
    layout: Layout, spec: PushSpec, have: ImageRecord, settings: RegistrySettings
) -> tuple[dict[str, str], dict[str, str]]:
    """What each tag is, and of those that nobody answers for, why: they count as they were left."""
    known = _known(layout, spec, have)
    heads = read_heads(known.tags, settings)
    facts = {tag: _state(known.tags.get(tag, ""), heads.get(tag)) for tag in spec.tags}
    return facts, {tag: head.unknown for tag, head in heads.items() if head.unknown}


def _known(layout: Layout, spec: PushSpec, have: ImageRecord) -> Pushed:
    """What was pushed of this very image; tags that are named no more are forgotten."""
    found = read_pushed(layout, have.name)
    if (found.image, found.how) != (have.digest, _how(spec)):
        return Pushed(have.digest, _how(spec))
    return replace(found, tags={tag: digest for tag, digest in found.tags.items() if tag in spec.tags})


def _how(spec: PushSpec) -> str:
    return "" if spec.compression == "gzip" else spec.compression


def _state(pushed: str, head: Head | None) -> str:
    if not pushed or head is None:
        return UNPUSHED
    if head.unknown or head.digest == pushed:
        return PUSHED
    return head.digest or MISSING


def push_tags(layout: Layout, spec: PushSpec, image: ImageRecord, settings: RegistrySettings, progress: Report) -> None:
    """Every tag names the image then; one that fails keeps no other from it. Raises the first Refused or RetryLater."""
    known = _known(layout, spec, image)
    heads = read_heads(known.tags, replace(settings, attempts=1)) if known.tags else {}
    failed: TrimtabError | None = None
    for tag in spec.tags:
        pushed = known.tags.get(tag, "")
        if pushed and heads[tag].digest == pushed:
            continue
        try:
            digest = push_image(layout, image, Reference.parse(tag), settings, progress, spec.compression)
        except TrimtabError as error:
            failed = failed or error
            continue
        known = replace(known, tags={**known.tags, tag: digest})
        write_pushed(layout, image.name, known)
    if failed is not None:
        raise failed
