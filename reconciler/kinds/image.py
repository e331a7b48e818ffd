"""Rules for an image: present and intact, from the source the manifest names.

Pure. An image is never taken away to change: the new one is put in its place, and what runs it is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.actions import Change, Effect
from reconciler.desired import Desired
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.image import ImageSpec
from schemas.names import Key, Kind

RULES = Rules(Kind.IMAGE, effects=dict.fromkeys(("content", "source", "pushed"), Effect.LIVE), most=Effect.LIVE)
SAME_IMAGE = frozenset({"push", "pull_policy", "follow", "verify"})
"""Fields of the spec that decide nothing about what the image is: what runs it stays when they change."""
PUSHED = "current"
"""What each tag is to be that the manifest has pushed."""


def makes_another(change: Change) -> bool:
    """Whether the image is another one after it."""
    head, *rest = change.path
    return head == "source" or (head == "spec" and not (rest and rest[0] in SAME_IMAGE))


def desire(item: Declared, others: Iterable[Declared] = ()) -> Desired:
    """`content`: every blob and layer is there. `source`: it is still what was made into the image. `pushed`: by tag,
    whether the registry's tag names it.

    One that is built comes after those that are not, since its Dockerfile, which is not read here, may begin with any
    of them; it does not fail with one that it may not even name.
    """
    bases, others_first = _before(item, others)
    facts: dict[str, Any] = {"content": "intact", "source": "unchanged"}
    if isinstance(item.spec, ImageSpec) and item.spec.push is not None:
        facts["pushed"] = dict.fromkeys(item.spec.push.tags, PUSHED)
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(item.spec)},
        facts=facts,
        needs=(*bases, *others_first),
        optional=frozenset(bases),
        declared=item,
    )


def _is_made(spec: ImageSpec) -> bool:
    """Of other objects of its set."""
    return spec.build is not None or spec.commit is not None


def _before(item: Declared, others: Iterable[Declared]) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """Images that may have to be there before it, and what must: Secrets of a build, the container of a commit."""
    spec = item.spec
    if isinstance(spec, ImageSpec) and spec.commit is not None:
        return (), (Key(Kind.CONTAINER, spec.commit.container),)
    if not isinstance(spec, ImageSpec) or spec.build is None:
        return (), ()
    plain = (each.key for each in others if isinstance(each.spec, ImageSpec) and not _is_made(each.spec))
    return tuple(sorted(plain)), tuple(sorted(Key(Kind.SECRET, name) for name in spec.build.secrets))
