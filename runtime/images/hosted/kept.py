"""What the registry's repositories need of the blob store: asked by the collector, under the store's lock.

A manifest keeps what it names; a blob that no manifest names yet stays for a day, since its manifest may be on the way.
Of a registry that is mirrored all stays that was brought, until there is too much of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from runtime.images.hosted.database import opened
from runtime.layout import Layout

PUSH_SECONDS = 24 * 3600.0
"""How long a blob waits for a manifest that names it."""


def hosted(layout: Layout) -> Mapping[str, tuple[str, ...]]:
    """Each digest that is needed, and the repositories that need it. Empty where there never was a registry.

    Raises Refused, RetryLater: what is needed is unknown then.
    """
    if not layout.registry.exists():
        return {}
    found: dict[str, set[str]] = {}
    with opened(layout) as database, database.reading() as db:
        rows = db.execute(
            "SELECT n.digest, name FROM needs n JOIN repositories ON id = repository WHERE space = ''"
            " UNION SELECT m.digest, name FROM manifests m JOIN repositories ON id = repository"
            " UNION SELECT b.digest, name FROM blobs b JOIN repositories ON id = repository WHERE used_at > ?"
            " OR space <> ''",
            (time.time() - PUSH_SECONDS,),
        )
        for digest, name in rows:
            found.setdefault(digest, set()).add(name)
    return {digest: tuple(sorted(names)) for digest, names in found.items()}
