"""Rules for an image: present and intact, from the source the manifest names.

Pure. An image is never taken away to change: the new one is put in its place, and what runs it is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.actions import Action, Change, Effect, Verb
from reconciler.desired import Desired
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.image import ImageSpec
from schemas.names import Key, Kind

SAME_IMAGE = frozenset({"push", "pull_policy", "follow", "verify"})
"""Fields of the spec that decide nothing about what the image is: what runs it stays when they change."""
PUSHED = "current"
"""What each tag is to be that the manifest has pushed."""


def makes_another(change: Change) -> bool:
    """Whether the image is another one after it."""
    head, *rest = change.path
    return head in ("source", "base") or (head == "spec" and not (rest and rest[0] in SAME_IMAGE))


def follow(want: Desired, needs: Mapping[Key, Sequence[Action]]) -> tuple[Change, ...]:
    """A build begins anew where an image it is built from is another one."""
    bases = [key for key in needs if key.kind is Kind.IMAGE and key not in want.optional]
    return tuple(
        Change(("base", key.name), "as before", "made anew", Effect.LIVE) for key in bases if _another(needs[key])
    )


def _another(actions: Iterable[Action]) -> bool:
    return any(action.verb is Verb.CREATE or any(map(makes_another, action.changes)) for action in actions)


def desire(item: Declared, others: Iterable[Declared] = (), bases: Iterable[Key] = ()) -> Desired:
    """`content`: every blob and layer is there. `source`: it is still what was made into the image. `pushed`: by tag,
    whether the registry's tag names it.

    One that is built comes after `bases`, the images of its set that its Dockerfile was seen to name. It comes after
    all that are not built, too, since it may begin with any of them by an argument or a trigger; it does not fail with
    one that it may not even name.
    """
    bases = frozenset(bases)
    plain, others_first = _before(item, others)
    maybe = [key for key in plain if key not in bases]
    facts: dict[str, Any] = {"content": "intact", "source": "unchanged"}
    if isinstance(item.spec, ImageSpec) and item.spec.push is not None:
        facts["pushed"] = dict.fromkeys(item.spec.push.tags, PUSHED)
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(item.spec)},
        facts=facts,
        needs=(*maybe, *sorted(bases), *others_first),
        optional=frozenset(maybe),
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


RULES = Rules(
    Kind.IMAGE,
    effects=dict.fromkeys(("content", "source", "pushed", "base"), Effect.LIVE),
    most=Effect.LIVE,
    follow=follow,
)
