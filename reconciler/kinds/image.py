"""Rules for an image: present and intact, from the source the manifest names.

Pure. An image is never taken away to change: the new one is put in its place, and what runs it is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.actions import Effect
from reconciler.desired import Desired
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.image import ImageSpec
from schemas.names import Key, Kind

RULES = Rules(Kind.IMAGE, effects={"content": Effect.LIVE, "source": Effect.LIVE}, most=Effect.LIVE)


def desire(item: Declared, others: Iterable[Declared] = ()) -> Desired:
    """`content`: every blob and layer is there. `source`: it is still what was made into the image.

    One that is built comes after those that are not, since its Dockerfile, which is not read here, may begin with any
    of them; it does not fail with one that it may not even name.
    """
    bases, secrets = _before(item, others)
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(item.spec)},
        facts={"content": "intact", "source": "unchanged"},
        needs=(*bases, *secrets),
        optional=frozenset(bases),
        declared=item,
    )


def _before(item: Declared, others: Iterable[Declared]) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """Images and Secrets that must be there when it is built."""
    spec = item.spec
    if not isinstance(spec, ImageSpec) or spec.build is None:
        return (), ()
    plain = (each.key for each in others if isinstance(each.spec, ImageSpec) and each.spec.build is None)
    return tuple(sorted(plain)), tuple(sorted(Key(Kind.SECRET, name) for name in spec.build.secrets))
