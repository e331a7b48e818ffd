"""Names for shell completion, read from the store where that is cheap. Never fails: a shell has no use for a reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click


def complete_objects(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """`containers`, and behind a slash the names: `container/web`."""
    from schemas.names import Kind

    kind, slash, _ = incomplete.partition("/")
    if not slash:
        return [f"{each.value.lower()}s" for each in Kind if f"{each.value.lower()}s".startswith(incomplete.lower())]
    folded = kind.lower().removesuffix("s")
    found = [f"{kind}/{name}" for each, name in _names(ctx) if each.lower() == folded]
    return [text for text in found if text.startswith(incomplete)]


def complete_sets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the sets; objects where a slash is written."""
    if "/" in incomplete:
        return complete_objects(ctx, param, incomplete)
    rows = _read(ctx, "SELECT name FROM sets ORDER BY name")
    return [str(row[0]) for row in rows if str(row[0]).startswith(incomplete)]


def complete_names(*kinds: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Names of objects of these kinds, without the kind."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return sorted({name for kind, name in _names(ctx) if kind in kinds and name.startswith(incomplete)})

    return complete


def complete_fields(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """`container.ports`: kinds, and behind a dot their fields."""
    with contextlib.suppress(Exception):
        from schemas.kind_words import find_kind

        kind, dot, _ = incomplete.partition(".")
        if not dot:
            return [name for name in _kinds() if name.startswith(incomplete.lower())]
        from schemas.field import fields_of
        from schemas.spec_models import SPEC_MODELS

        paths = (f"{kind}.{path}" for path in fields_of(SPEC_MODELS[find_kind(kind)]))
        return [path for path in paths if path.startswith(incomplete)]
    return []


def _kinds() -> list[str]:
    from schemas.names import Kind

    return [kind.value.lower() for kind in Kind]


def _names(ctx: click.Context) -> list[tuple[str, str]]:
    """Kind and name of every object."""
    return _read(ctx, "SELECT kind, name FROM records UNION SELECT kind, name FROM inventory")


def _read(ctx: click.Context, query: str) -> list[Any]:
    """Rows of the store, read-only, without waiting for anybody."""
    with contextlib.suppress(Exception):
        import sqlite3

        path = f"{_root(ctx)}/state.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as store:
            return store.execute(query).fetchall()
    return []


def _root(ctx: click.Context) -> str:
    from runtime.defaults import ROOT

    return str(ctx.find_root().params.get("root") or ROOT)
