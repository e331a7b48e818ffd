"""A field of a manifest, explained: `explain("container.ports")` says its type, effect, default and parts.

Called by `trimtab explain`. Reads the declarations of the models and nothing else; what it prints is for people and
may change.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from schemas.errors import Refused
from schemas.field import Effect, FieldInfo, fields_of
from schemas.kind_words import find_kind
from schemas.names import API_VERSION, Kind
from schemas.nearest import nearest
from schemas.spec_models import SPEC_MODELS

WIDTH = 78
EFFECT_WORDS: Mapping[Effect, str] = {
    "live": "live: changed in place, nothing stops",
    "restart": "restart: the same object stops and starts",
    "replace": "replace: the object is removed and made anew",
}


def explain(path: str) -> str:
    """The text for `KIND` or `KIND.FIELD[.FIELD…]`; `KIND.spec.FIELD` is the same. Raises Refused for unknown names."""
    name, *steps = path.strip().split(".")
    kind = find_kind(name)
    dotted = ".".join(steps[1:] if steps[:1] == ["spec"] else steps)
    fields = fields_of(SPEC_MODELS[kind])
    if not dotted:
        return _explain_kind(kind, fields)
    if dotted not in fields:
        raise _unknown(kind, dotted, fields)
    return _explain_field(kind, fields[dotted], children(fields, dotted))


def list_kinds() -> str:
    """Each kind and what it is, a line each."""
    width = max(len(kind.value) for kind in Kind) + 2
    lines = [f"  {kind.value:{width}}{(SPEC_MODELS[kind].__doc__ or '').splitlines()[0]}" for kind in Kind]
    return "\n".join(["KINDS (`trimtab explain KIND` lists the fields of one):", *lines])


def children(fields: Mapping[str, FieldInfo], parent: str = "") -> list[FieldInfo]:
    """The fields directly below `parent`; those of the spec itself without one."""
    prefix = f"{parent}." if parent else ""
    return [info for path, info in fields.items() if path.startswith(prefix) and "." not in path[len(prefix) :]]


def _unknown(kind: Kind, dotted: str, fields: Mapping[str, FieldInfo]) -> Refused:
    known = dotted
    while known and known not in fields:
        known, _, wrong = known.rpartition(".")
    where = ".".join(part for part in (kind.value.lower(), known) if part)
    names = [info.name for info in children(fields, known)]
    if not names:
        return Refused(f"{where} has no fields below it", hint=f"`trimtab explain {where}` explains it")
    near = nearest(wrong, names)
    elsewhere = next((path for path in fields if path.rpartition(".")[2] == wrong), None)
    meant = f"{where}.{near}" if near else f"{kind.value.lower()}.{elsewhere}" if elsewhere else None
    hint = f"did you mean {meant}?" if meant else f"`trimtab explain {where}` lists them"
    return Refused(f"{where} has no field {wrong!r}", hint=hint)


def _explain_kind(kind: Kind, fields: Mapping[str, FieldInfo]) -> str:
    lines = [
        f"KIND:      {kind.value}",
        f"VERSION:   {API_VERSION}",
        "",
        "DESCRIPTION:",
        *_indented(SPEC_MODELS[kind].__doc__ or ""),
        "",
        "FIELDS OF spec:",
        *_list(children(fields)),
    ]
    return "\n".join(lines)


def _explain_field(kind: Kind, info: FieldInfo, parts: Sequence[FieldInfo]) -> str:
    head = {
        "KIND": kind.value,
        "FIELD": f"spec.{info.path} <{info.type_text}>{' -required-' if info.required else ''}",
        "DEFAULT": info.default,
        "UNIT": info.unit,
        "CHANGE": EFFECT_WORDS[info.effect],
    }
    lines = [f"{name + ':':<11}{value}" for name, value in head.items() if value]
    lines += ["", "DESCRIPTION:", *_indented(info.description)]
    if parts:
        lines += ["", "FIELDS:", *_list(parts, info.effect)]
    return "\n".join(lines)


def _list(fields: Sequence[FieldInfo], inherited: Effect | None = None) -> list[str]:
    """One field a paragraph: name, type and what is not as with the field that holds it; then the description."""
    lines: list[str] = []
    for info in fields:
        notes = ["-required-" if info.required else "", info.effect if info.effect != inherited else ""]
        lines.append(" ".join(["", f"  {info.name}".rstrip(), f"<{info.type_text}>", *filter(None, notes)])[1:])
        said = [info.description, f"Unit: {info.unit}." if info.unit else ""]
        said += [f"Default: {info.default}." if info.default else ""]
        lines += _indented(" ".join(filter(None, said)), 6)
    return lines


def _indented(text: str, spaces: int = 4) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * spaces, subsequent_indent=" " * spaces)
