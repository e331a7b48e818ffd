"""Writes plain values as YAML that `yaml_text` reads back the same: the other half of reading.

Called by whatever prints manifests. Text that YAML 1.2 or 1.1 would take for something else is quoted, so that other
tools read it alike, and a dollar sign is doubled, since loading replaces variables. Several lines stay lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from schemas.scalars import NUMBER
from schemas.source_text import FORBIDDEN


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would not read as text; indents lists below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_documents(values: Iterable[Any]) -> str:
    """Each value (maps, lists, text, numbers, booleans, None) as a YAML document, in its own order of keys."""
    return yaml.dump_all(
        [_escaped(value) for value in values], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def _escaped(value: Any) -> Any:
    """The value with plain types all through, and every dollar sign in it doubled; keys are not replaced on reading."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {str(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if isinstance(value, int) else float(value)
    return value


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if FORBIDDEN.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
# Never the tag of a value that is written, so it only ever takes the plain style from text.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:number-of-yaml-1.2", NUMBER, list("+-.0123456789"))
